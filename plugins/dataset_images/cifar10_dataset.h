#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "casdm/options.h"
#include "cifar_batches.h"
#include "image_decoder.h"
#include "labels.h"
#include "members.h"
#include "part.h"

namespace casdm::dataset_images {

struct Cifar10Options : FractionOptions {
  std::filesystem::path path;
  Split split = Split::train;

  static void describe(Schema<Cifar10Options>& s) {
    s.option("path", &Cifar10Options::path,
             "A folder or a tar archive, plain or gzipped, that holds data_batch_1.bin to data_batch_5.bin and "
             "test_batch.bin (the binary version), the same without .bin (the Python version), or train/<class>/ and "
             "test/<class>/ with image files.")
        .existing_path()
        .required()
        .example("cifar-10-binary.tar.gz");
    s.option("split", &Cifar10Options::split, "The 50,000 images for training or the 10,000 for testing.");
    describe_fraction(s);
  }
};

/// CIFAR-10 (Krizhevsky 2009): 32x32 images of ten classes, with the original, alphabetical order of labels: airplane,
/// automobile, bird, cat, deer, dog, frog, horse, ship, truck.
///
/// The split is held in memory, as records or encoded (image files from an archive); image files in a folder are read
/// when needed. Records come in the order of their files' names, image files in the bytewise order of their names.
class Cifar10Dataset : public Dataset {
 public:
  using Options = Cifar10Options;

  /// Throws ConfigError if the path does not exist, Error if it contains none of the versions, is damaged, lacks one of
  /// the five training batches, contains a file twice, has a class that CIFAR-10 does not have, or is larger than
  /// CIFAR-10 can be.
  Cifar10Dataset(const Cifar10Options& options, const Spec& spec);

  std::int64_t size() const override { return batches_.empty() ? std::ssize(files_) : batches_.size(); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return 10; }
  Labels labels() const;
  std::string describe(std::int64_t index) const override;
  std::string key(std::int64_t index) const;

 private:
  struct File {
    Member member;
    std::int64_t label;
  };

  void take(Member member);
  void sort_files();
  [[noreturn]] void fail_empty(const SomeNames& seen) const;
  const File& file(std::int64_t index) const { return files_.at(static_cast<std::size_t>(index)); }

  std::filesystem::path path_;
  Split split_;
  ImageForm form_;
  CifarBatches batches_;
  std::vector<File> files_;
};

}  // namespace casdm::dataset_images
