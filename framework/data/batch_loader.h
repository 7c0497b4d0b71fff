#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "casdm/dataset.h"
#include "framework/config/experiment.h"

namespace casdm {

/// The images of one training step, on the CPU.
struct ImageBatch {
  at::Tensor images;                ///< uint8 [B, C, H, W]
  at::Tensor labels;                ///< int64 [B]; undefined unless data.use_labels; num_classes: a dropped label
  std::int64_t first_position = 0;  ///< of the batch's first image in the endless stream of images
};

/// The endless stream of training images, cut into batches and decoded ahead on threads.
///
/// Position p of the stream is image permutation[p mod N] of epoch p / N; each epoch has its own random order, and
/// batches run on across the end of an epoch. Order, flips and dropped labels are functions of (seed, position) alone,
/// so the stream does not depend on the number of threads, the batch size, nor the position at which it starts.
class BatchLoader {
 public:
  /// @param seed            of the run; the loader derives its own
  /// @param first_position  of the first image that `next` delivers: how many images the run has seen
  /// @param warn            told once of each image that is skipped, by the thread that calls `next`; may be empty
  /// Throws ConfigError when the data set is empty, or labels are wanted and it has none.
  BatchLoader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, std::int64_t batch_size,
              std::uint64_t seed, std::int64_t first_position, std::function<void(const std::string&)> warn);

  /// Ends the threads after the images they are decoding.
  ~BatchLoader();

  /// The next batch; waits until it is decoded. Throws what the data set threw when an
  /// image of the batch cannot be read (Error when none can and unreadable ones are to be skipped),
  /// and the same again when called again.
  ImageBatch next();

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace casdm
