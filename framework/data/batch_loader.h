#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "casdm/dataset.h"
#include "framework/config/experiment.h"
#include "framework/data/batch_ring.h"

namespace casdm {

/// The part of each batch that is loaded: `count` images from its image `first` on.
struct BatchSlice {
  /// The whole batch.
  BatchSlice(std::int64_t batch_size) : batch_size(batch_size), first(0), count(batch_size) {}  // NOLINT
  BatchSlice(std::int64_t batch_size, std::int64_t first, std::int64_t count)
      : batch_size(batch_size), first(first), count(count) {}

  std::int64_t batch_size;
  std::int64_t first;
  std::int64_t count;
};

/// The endless stream of training images, cut into batches and decoded ahead on threads.
///
/// Position p of the stream is image permutation[p mod N] of epoch p / N; each epoch has its own random order, and
/// batches run on across the end of an epoch. Order, flips and dropped labels are functions of (seed, position) alone,
/// so the stream does not depend on the number of threads, on the batch size, nor on the position it starts at.
class BatchLoader {
 public:
  /// @param seed            of the run; the loader derives its own
  /// @param slice           what `next` delivers of each batch
  /// @param first_position  of the first image of the first batch: how many images the run has seen
  /// @param warn            is given a line for each image that is left out and, after each epoch, a summary if
  ///                        it is news, by the thread that calls `next`; may be empty
  /// Throws ConfigError when the data set is empty, labels are wanted and it has none, or data.cache = "always" cannot
  /// be; Error when `first_position` is negative.
  BatchLoader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, BatchSlice slice, std::uint64_t seed,
              std::int64_t first_position, std::function<void(const std::string&)> warn);

  /// Ends the threads after the images they are decoding.
  ~BatchLoader();

  /// Waits until the next batch is decoded; false when `is_cancelled` says so first, before or while it waits.
  bool wait(const std::function<bool()>& is_cancelled);

  /// The next batch; waits until it is decoded. Throws what reading threw (image_reader.h) when an image of the batch
  /// cannot be read, and the same again when called again.
  ImageBatch next();

  /// Gives `warn` the summary of what was left out so far, unless it was given before: for the end of a training.
  void summarise();

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace casdm
