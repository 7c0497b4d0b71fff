#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/choice.h"
#include "casdm/dataset.h"

namespace casdm::dataset_images {

enum class Split { train, test };

constexpr auto choices_of(Split) {
  using enum Split;
  return choices<Split>({{train, "train"}, {test, "test"}});
}

/// Limit for a split in memory, in bytes; the largest has 154 MB.
inline constexpr std::uint64_t kMaxHeld = std::uint64_t{1} << 29;

/// The files of a split of CIFAR-10 or CIFAR-100.
struct CifarForm {
  std::string name;  ///< "CIFAR-10"
  Split split;
  std::vector<std::string> batches;  ///< the files, without ".bin"
  std::int64_t label_bytes = 1;      ///< number of label bytes before each image of the binary version
  std::int64_t label_at = 0;         ///< which of these bytes is used
  std::string label_key;             ///< its key in the Python version
  std::int64_t classes = 10;
};

/// The images of a split: 32x32, from the binary version (records of labels and three planes) or the Python version (a
/// pickle of an array and a list of labels; nothing in it is executed). If both exist, the binary one is used.
class CifarBatches {
 public:
  explicit CifarBatches(CifarForm form) : form_(std::move(form)) {}

  /// Whether the last part of `name` is the name of a batch.
  bool is_batch(std::string_view name) const;

  /// Throws Error, which begins with `source`, if the bytes are not a batch or contain an invalid label, or if `hold`
  /// throws.
  /// @param source  the folder or archive
  void add(const std::string& source, std::string name, std::vector<std::uint8_t> bytes);

  /// Counts bytes of the split in memory. Throws Error if there are more than kMaxHeld.
  void hold(const std::string& source, std::size_t bytes);

  /// Sorts the batches; to be called after the last one. Throws Error if a batch occurs twice, or if some but not all
  /// exist.
  void finish(const std::string& source);

  bool empty() const { return batches_.empty(); }
  std::int64_t size() const;

  std::vector<std::int64_t> labels() const;

  /// RGB, with its label.
  Example get(std::int64_t index) const;

  /// "cifar-10-batches-bin/data_batch_1.bin record 7".
  std::string name(std::int64_t index) const;

  /// "data_batch_1 record 7", whichever version it is and wherever the data set is.
  std::string key(std::int64_t index) const;

 private:
  struct Batch {
    std::string name;
    bool is_binary;
    std::vector<std::uint8_t> bytes;
    std::vector<std::int64_t> labels;
    std::size_t stride;  ///< bytes from one image to the next
    std::size_t start;   ///< of the first image
    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
  };
  struct Record {
    const Batch* batch;
    std::size_t number;
  };

  Batch binary_batch(std::vector<std::uint8_t> bytes) const;
  Batch python_batch(const std::vector<std::uint8_t>& bytes) const;
  void check_labels(const Batch& batch) const;
  Record record(std::int64_t index) const;

  CifarForm form_;
  std::uint64_t held_ = 0;
  std::vector<Batch> batches_;
};

}  // namespace casdm::dataset_images
