#pragma once

#include <string>

#include "framework/training/checkpoint.h"

namespace casdm {

// Metadata of a file of `casdm ema`: the moment and the run of the average, and the name and SHA-256 of the last of the
// run's snapshots that it was made from.
constexpr const char* kImagesOfAverage = "images";
constexpr const char* kRunOfAverage = "run";
constexpr const char* kSnapshotOfAverage = "snapshot";
constexpr const char* kSnapshotDigest = "snapshot_sha256";

/// Where the weights in a file come from, if it says so.
struct WeightsOrigin {
  Value recorded{Value::Table{}};  ///< `images` and `run`, as the file has them
  std::string warning;             ///< if it is not the run of the checkpoint, at its number of images
};

/// The origin of `weights` that are sampled with `checkpoint`; see Checkpoint::load_weights.
WeightsOrigin origin_of(const std::string& weights, const Checkpoint& checkpoint);

}  // namespace casdm
