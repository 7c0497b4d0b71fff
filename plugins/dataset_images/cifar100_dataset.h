#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "casdm/dataset.h"
#include "casdm/options.h"
#include "cifar_batches.h"
#include "labels.h"
#include "part.h"

namespace casdm::dataset_images {

enum class Cifar100Labels { fine, coarse };

constexpr auto choices_of(Cifar100Labels) {
  using enum Cifar100Labels;
  return choices<Cifar100Labels>({{fine, "fine"}, {coarse, "coarse"}});
}

struct Cifar100Options : FractionOptions {
  std::filesystem::path path;
  Split split = Split::train;
  Cifar100Labels labels = Cifar100Labels::fine;

  static void describe(Schema<Cifar100Options>& s) {
    s.option("path", &Cifar100Options::path,
             "A folder or a tar archive, plain or gzipped, that holds train.bin and test.bin (the binary version), or "
             "train and test (the Python version).")
        .existing_path()
        .required()
        .example("cifar-100-binary.tar.gz");
    s.option("split", &Cifar100Options::split, "The 50,000 images for training or the 10,000 for testing.");
    s.option("labels", &Cifar100Options::labels, "The 100 classes, or the 20 that they are grouped into.");
    describe_fraction(s);
  }
};

/// CIFAR-100 (Krizhevsky 2009): 32x32 images of 100 classes in 20 groups, with the original order of labels. The split
/// is held in memory.
class Cifar100Dataset : public Dataset {
 public:
  using Options = Cifar100Options;

  /// Throws ConfigError when there is nothing at the path, Error when it holds neither version, is damaged, holds a
  /// file twice, or is larger than CIFAR-100 can be.
  Cifar100Dataset(const Cifar100Options& options, const Spec& spec);

  std::int64_t size() const override { return batches_.size(); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return classes_; }
  Labels labels() const { return {batches_.labels(), classes_}; }
  std::string describe(std::int64_t index) const override;
  std::string key(std::int64_t index) const { return batches_.key(index); }

 private:
  std::filesystem::path path_;
  std::int64_t channels_;
  std::int64_t classes_;
  CifarBatches batches_;
};

}  // namespace casdm::dataset_images
