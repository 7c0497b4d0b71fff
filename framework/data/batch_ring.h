#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <vector>

#include "framework/config/experiment.h"

namespace casdm {

/// The images of one training step, on the CPU.
struct ImageBatch {
  at::Tensor images;                ///< uint8 [B, C, H, W]
  at::Tensor labels;                ///< int64 [B]; undefined unless data.use_labels; num_classes: a dropped label
  std::int64_t first_position = 0;  ///< of the batch's first image in the endless stream of images
};

/// Batches that are filled image by image, a few at once, and delivered in the order of the stream. Thread-safe.
class BatchRing {
 public:
  /// Where an image goes.
  struct Place {
    std::int64_t position;  ///< in the stream
    std::uint8_t* pixels;   ///< [C, H, W]
    std::int64_t* label;    ///< null unless data.use_labels
  };

  /// @param first_position  of the first image
  BatchRing(const DataOptions& options, std::int64_t batch_size, std::int64_t first_position);

  /// The next place to fill; waits until there is room. Nothing after `stop`.
  std::optional<Place> claim();

  /// The image at `position` is in its place, or could not be read because of `failure`.
  void settle(std::int64_t position, std::exception_ptr failure);

  /// Waits until the next batch is complete.
  void wait();

  /// The next batch, which is complete. Throws the failure of its lowest position (so that it does not depend on
  /// timing), and the same again when called again.
  ImageBatch take();

  /// Ends the waiting of `claim`.
  void stop();

 private:
  struct Slot {
    at::Tensor images;
    at::Tensor labels;
    std::int64_t missing = 0;
    std::int64_t failed_position = 0;
    std::exception_ptr failure;
  };

  Slot& slot_of(std::int64_t position);
  void reset(Slot& slot);

  DataOptions options_;
  std::int64_t batch_size_;
  std::int64_t origin_;  ///< where the first batch begins

  std::mutex mutex_;  ///< guards all below
  std::condition_variable room_;
  std::condition_variable complete_;
  std::vector<Slot> slots_;
  std::int64_t first_;  ///< position of the batch that is delivered next
  std::int64_t next_;   ///< position that is claimed next
  bool is_stopped_ = false;
};

}  // namespace casdm
