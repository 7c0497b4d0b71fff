#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "casdm/choice.h"
#include "casdm/dataset.h"
#include "casdm/options.h"
#include "casdm/text.h"
#include "labels.h"

/// Parts of a data set, chosen by the images' file names if no two are equal, else by their names below the folder that
/// all share: so they are the same wherever the data set is, in a folder or an archive, and however its files are
/// ordered.
namespace casdm::dataset_images {

enum class Part { all, train, test };

constexpr auto choices_of(Part) {
  using enum Part;
  return choices<Part>({{all, "all"}, {train, "train"}, {test, "test"}});
}

/// For a data set that its authors have split.
struct FractionOptions {
  double fraction = 1.0;

  template <class T>
  static void describe_fraction(Schema<T>& s) {
    s.option("fraction", static_cast<double T::*>(&T::fraction),
             "The share of the images that is used, chosen by their names: 0.1 is within 0.5.")
        .range(0, 1)
        .exclusive_minimum = true;
  }
};

/// For a data set without an official split.
struct PartOptions : FractionOptions {
  Part split = Part::all;
  double test_fraction = 0.1;

  template <class T>
  static void describe_part(Schema<T>& s) {
    s.option("split", static_cast<Part T::*>(&T::split),
             "All images, or those for training or for testing, split by name.");
    s.option("test_fraction", static_cast<double T::*>(&T::test_fraction), "The share of the images for testing.")
        .range(0, 1)
        .only_with("split", {"train", "test"});
    describe_fraction(s);
  }
};

/// The images to use, in their order: the share `fraction` of those in the split, and at least one. A fraction of all
/// images and the split for testing are disjoint if `fraction` + `test_fraction` <= 1.
/// @param keys  of all images
/// Throws ConfigError if the split is empty.
std::vector<std::int64_t> chosen(const std::vector<std::string>& keys, const FractionOptions& options);
std::vector<std::int64_t> chosen(const std::vector<std::string>& keys, const PartOptions& options);

bool is_part(const FractionOptions& options);
bool is_part(const PartOptions& options);

/// A readable form of the choice: `split = "train", fraction = 0.5`.
std::string words_for(const FractionOptions& options);
std::string words_for(const PartOptions& options);

/// A data set reduced to the images that its options choose. `Whole` must have a `key(index)` that identifies an image
/// by its name or number, whatever the path of the data set; if its images have classes, `labels()` has them.
template <class Whole>
class Parted : public Dataset {
 public:
  using Options = typename Whole::Options;

  Parted(const Options& options, const Spec& spec) : whole_(options, spec), chosen_(whole_.size()) {
    std::iota(chosen_.begin(), chosen_.end(), std::int64_t{0});
    std::vector<std::string> remarks;
    if (const std::string files = whole_.left_out(); !files.empty()) remarks.push_back(files);
    if (is_part(options)) {
      std::vector<std::string> keys;
      for (std::int64_t i = 0; i < whole_.size(); ++i) keys.push_back(whole_.key(i));
      chosen_ = chosen(keys, options);
      remarks.push_back(
          text(keys.size() - chosen_.size(), " of ", keys.size(), " images are not used (", words_for(options), ")"));
    }
    if constexpr (requires { whole_.labels(); }) {
      const std::string classes = classes_without_images(whole_.labels(), chosen_);
      if (!classes.empty()) remarks.push_back(classes);
    }
    left_out_ = join(remarks, "; ");
  }

  std::int64_t size() const override { return std::ssize(chosen_); }
  Example get(std::int64_t index) const override { return whole_.get(place(index)); }
  std::int64_t num_classes() const override { return whole_.num_classes(); }
  std::string describe(std::int64_t index) const override { return whole_.describe(place(index)); }
  std::string left_out() const override { return left_out_; }

 private:
  std::int64_t place(std::int64_t index) const { return chosen_.at(static_cast<std::size_t>(index)); }

  Whole whole_;
  std::vector<std::int64_t> chosen_;
  std::string left_out_;
};

}  // namespace casdm::dataset_images
