#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "framework/config/experiment.h"
#include "framework/data/image_cache.h"
#include "framework/data/reading_record.h"

namespace casdm {

/// Reads images by index and prepares them; remembers unreadable images and, as data.cache says, the prepared ones.
/// Thread-safe.
class ImageReader {
 public:
  /// @param is_share  whether other processes read other images of the data set
  /// Throws ConfigError if data.cache is "always" and the images do not fit into the machine's memory.
  ImageReader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, bool is_share = false);

  /// Image `index` or, with data.skip_unreadable, the next one that can be read.
  ///
  /// Throws Error with the image's name if it cannot be read, or if none can; PluginError if the data set violates its
  /// contract, even if unreadable images are skipped. An image that needs more memory than there is counts as
  /// unreadable.
  PreparedImage read(std::int64_t index);

  const Dataset& dataset() const { return *dataset_; }
  const std::vector<ExtraInfo>& extras() const { return extras_; }
  ReadingRecord& record() { return record_; }

 private:
  PreparedImage read_one(std::int64_t index);
  PreparedImage prepared(const Example& example) const;
  Example get(std::int64_t index) const;
  [[noreturn]] void throw_no_memory(std::int64_t index) const;
  std::string name_of(std::int64_t index) const;

  std::shared_ptr<const Dataset> dataset_;
  DataOptions options_;
  std::int64_t size_;
  std::int64_t num_classes_;
  bool is_floating_point_;
  std::vector<ExtraInfo> extras_;
  std::unique_ptr<ImageCache> cache_;
  ReadingRecord record_;
};

}  // namespace casdm
