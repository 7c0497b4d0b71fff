#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "casdm/dataset.h"
#include "framework/config/experiment.h"
#include "framework/data/batch_ring.h"

namespace casdm {

/// The part of each batch that is loaded: `count` images, starting with image `first` of the batch.
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
/// so the stream does not depend on the number of threads, the batch size or the position it starts at.
class BatchLoader {
 public:
  /// @param seed            of the run; the loader derives its own
  /// @param slice           the part of each batch that `next` delivers
  /// @param first_position  of the first image of the first batch: the number of images the run has seen
  /// @param warn            called by the thread that calls `next`, with a line for each image that is left out and,
  ///                        after each epoch, with a summary if it has changed; may be empty
  /// Throws ConfigError if the data set is empty, if it has no labels and they are required, or if data.cache =
  /// "always" is impossible; Error if `first_position` is negative.
  BatchLoader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, BatchSlice slice, std::uint64_t seed,
              std::int64_t first_position, std::function<void(const std::string&)> warn);

  /// Ends the threads after the images they are decoding now.
  ~BatchLoader();

  /// Waits until the next batch is decoded; false if `is_cancelled` returns true before or during the wait.
  bool wait(const std::function<bool()>& is_cancelled);

  /// The next batch; waits until it is decoded. If an image of the batch cannot be read, throws the reader's error
  /// (image_reader.h), and throws it again when called again.
  ImageBatch next();

  /// Passes the summary of what was left out to `warn`, unless it has had it; for the end of a training.
  void summarise();

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace casdm
