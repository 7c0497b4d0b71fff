#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/choice.h"
#include "casdm/dataset.h"
#include "casdm/options.h"
#include "image_decoder.h"

namespace casdm::dataset_images {

enum class Split { train, test };

constexpr auto choices_of(Split) {
  using enum Split;
  return choices<Split>({{train, "train"}, {test, "test"}});
}

struct Cifar10Options {
  std::filesystem::path path;
  Split split = Split::train;

  static void describe(Schema<Cifar10Options>& s) {
    s.option("path", &Cifar10Options::path,
             "A folder or a tar archive, plain or gzipped, that holds data_batch_1.bin to data_batch_5.bin and "
             "test_batch.bin (the binary version), or train/<class>/ and test/<class>/ with image files.")
        .existing_path()
        .required()
        .example("cifar-10-binary.tar.gz");
    s.option("split", &Cifar10Options::split, "The 50,000 images for training or the 10,000 for testing.");
  }
};

/// CIFAR-10 (Krizhevsky 2009): 32x32 images of ten classes, labelled in the order of the original, which is
/// alphabetical: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.
///
/// The split is held in memory, as records (binary version) or encoded (image files of an archive);
/// image files of a folder stay there. Binary records come in the order of their files' names, image
/// files in the bytewise order of their names.
class Cifar10Dataset : public Dataset {
 public:
  using Options = Cifar10Options;

  /// Throws ConfigError when there is nothing at the path, Error when it holds neither version, is damaged, lacks
  /// one of the five training batches, holds a file twice, has a class that CIFAR-10 has not, or is larger than
  /// CIFAR-10 can be.
  Cifar10Dataset(const Cifar10Options& options, const Spec& spec);

  std::int64_t size() const override;
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return 10; }
  std::string describe(std::int64_t index) const override;

 private:
  /// One data_batch_N.bin: records of a label and 3 planes of 32 rows of 32 bytes.
  struct Batch {
    std::string name;
    std::vector<std::uint8_t> bytes;
    std::int64_t size() const;
  };
  /// One image file: its bytes when it came from an archive, else its path.
  struct File {
    std::string name;
    std::int64_t label;
    std::vector<std::uint8_t> bytes;
    std::filesystem::path path;
  };
  /// A record's place.
  struct Record {
    const Batch* batch;
    std::int64_t number;
  };

  bool is_wanted(const std::string& name) const;
  void take(std::string name, std::vector<std::uint8_t> bytes, std::filesystem::path path);
  void add_batch(const std::string& name, std::vector<std::uint8_t> bytes);
  void hold(std::size_t bytes);
  void sort();
  void require_all_batches() const;
  Record record(std::int64_t index) const;
  [[noreturn]] void fail_empty(const std::vector<std::string>& seen) const;

  std::filesystem::path path_;
  Split split_;
  ImageForm form_;
  std::uint64_t held_ = 0;  ///< bytes in memory
  std::vector<Batch> batches_;
  std::vector<File> files_;
};

}  // namespace casdm::dataset_images
