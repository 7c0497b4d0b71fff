#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "casdm/condition.h"
#include "framework/config/experiment.h"

namespace casdm {

/// The images of one training step, on the CPU.
struct ImageBatch {
  at::Tensor images;                ///< uint8 [B, C, H, W]; float32 in [-1, 1] if the data set's are
  at::Tensor labels;                ///< int64 [B]; undefined unless data.use_labels; num_classes: a dropped label
  std::int64_t first_position = 0;  ///< of the batch's first image in the endless stream
  std::map<std::string, at::Tensor> extras = {};  ///< of the data set, [B, ...] float32 or int64
};

/// What a data set provides besides 8-bit images and labels.
struct ImageContent {
  bool is_floating_point = false;
  std::vector<ExtraInfo> extras = {};
};

/// Batches that are filled image by image, several at a time, and delivered in the order of the stream. Thread-safe.
class BatchRing {
 public:
  /// Where to write an image.
  struct Place {
    std::int64_t position;              ///< in the stream
    std::uint8_t* pixels;               ///< [C, H, W]; as bytes, also for float32 images
    std::int64_t* label;                ///< null unless data.use_labels
    std::vector<std::uint8_t*> extras;  ///< in the order of ImageContent's
  };

  /// @param first_position  of the first image
  BatchRing(const DataOptions& options, std::int64_t batch_size, std::int64_t first_position,
            ImageContent content = {});

  /// The next place to fill; waits until there is room. Returns nothing after `stop`.
  std::optional<Place> claim();

  /// The image at `position` is written, or could not be read because of `failure`.
  void settle(std::int64_t position, std::exception_ptr failure);

  /// Waits until the next batch is complete. Returns false if `is_cancelled`, which is called ten times a second, is
  /// true before that.
  bool wait(const std::function<bool()>& is_cancelled = [] { return false; });

  /// The next batch, which must be complete. Throws the failure with the lowest position (so that it does not depend on
  /// timing), and throws it again when called again.
  ImageBatch take();

  /// Wakes all threads that wait in `claim`.
  void stop();

 private:
  struct Slot {
    at::Tensor images;
    at::Tensor labels;
    std::vector<at::Tensor> extras;
    std::int64_t missing = 0;
    std::int64_t failed_position = 0;
    std::exception_ptr failure;
  };

  Slot& slot_of(std::int64_t position);
  void reset(Slot& slot);

  DataOptions options_;
  ImageContent content_;
  std::int64_t batch_size_;
  std::int64_t origin_;  ///< where the first batch begins

  std::mutex mutex_;  ///< guards everything below
  std::condition_variable room_;
  std::condition_variable complete_;
  std::vector<Slot> slots_;
  std::int64_t first_;  ///< position of the batch to deliver next
  std::int64_t next_;   ///< position to claim next
  bool is_stopped_ = false;
};

}  // namespace casdm
