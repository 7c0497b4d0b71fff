#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/feature_extractor.h"

namespace casdm CASDM_API {

/// A number that a set metric computes.
struct ScoreInfo {
  std::string name;             ///< "frechet", "precision"; unique within its metric
  bool is_lower_better = true;  ///< else higher
  bool has_standard_error = false;
};

/// What a set metric declares about itself; checked by the conformance tests.
struct SetMetricInfo {
  std::vector<ScoreInfo> scores;    ///< at least one; the first is the metric's own
  std::int64_t minimum_images = 2;  ///< in each set; the host refuses fewer
  std::int64_t images_kept = 0;     ///< whose features a state may hold, at most; sums of fixed size do not count
  bool needs_reference = true;      ///< else `compare` is given an empty reference
};

/// A score, as computed.
struct Score {
  std::string name;
  double value = 0;
  std::optional<double> standard_error = {};
};

/// Features of some images of a set.
struct FeatureBatch {
  Tensor features;                   ///< [B, dimension], or [B, dimension, h, w]; finite, on any device
  std::vector<std::int64_t> images;  ///< [B]: which images of the set they are, from 0; each comes once
};

/// Compares a set of generated images with a reference set by their features.
///
/// A set is gathered in a state: tensors on the CPU that are saved, loaded, and sent between processes as they are. The
/// object itself keeps nothing of the images. The state of a set is a function of its images and their numbers: the
/// order and the size of batches, and which process saw which image, change no score beyond rounding. Its size is
/// bounded: sums, or the features of `images_kept` images chosen by their numbers (a hash of seed and number; never
/// "the first that came"). Sums are float64. Random choices are functions of `Spec::seed`. One thread calls it at a
/// time, without gradient.
class SetMetric {
 public:
  using Interface = SetMetric;
  static constexpr std::string_view kind = "set_metric";
  static constexpr int interface_version = 2;

  struct Spec {
    FeatureInfo feature = {"features",
                           1};  ///< that it is given; the constructor throws ConfigError when it cannot use it
    std::uint64_t seed = 0;
  };

  virtual ~SetMetric();

  virtual SetMetricInfo info() const = 0;

  /// The state of an empty set: the same names every time.
  virtual NamedTensors start() const = 0;

  /// Adds images to the set of `state`.
  virtual void update(NamedTensors& state, const FeatureBatch& batch) const = 0;

  /// Adds the images of `other` to the set of `state`; no image is in both.
  virtual void merge(NamedTensors& state, const NamedTensors& other) const = 0;

  /// The scores of `info`, in its order. Each set has at least `minimum_images` images.
  virtual std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const = 0;
};

}  // namespace casdm
