#pragma once

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <string>

#include "casdm/random.h"
#include "casdm/set_metric.h"
#include "support/components.h"

namespace casdm::testing {

inline std::shared_ptr<SetMetric> make_set_metric(const std::string& type, std::int64_t dimension,
                                                  const std::string& options = "", std::uint64_t seed = 0) {
  return make<SetMetric>(type, options, {.feature = {"features", dimension, false}, .seed = seed});
}

/// The state after adding images with the features `rows`, numbered from `first`, in batches.
inline NamedTensors set_of(const SetMetric& metric, const Tensor& rows, std::int64_t first = 0,
                           std::int64_t batch = 64) {
  NamedTensors state = metric.start();
  for (std::int64_t i = 0; i < rows.size(0); i += batch) {
    FeatureBatch part{rows.narrow(0, i, std::min(batch, rows.size(0) - i)), {}};
    part.images.resize(static_cast<std::size_t>(part.features.size(0)));
    std::iota(part.images.begin(), part.images.end(), first + i);
    metric.update(state, part);
  }
  return state;
}

inline std::vector<Score> compare(const SetMetric& metric, const Tensor& generated, const Tensor& reference) {
  return metric.compare(set_of(metric, generated), set_of(metric, reference));
}

inline double value(const SetMetric& metric, const Tensor& generated, const Tensor& reference) {
  return compare(metric, generated, reference).front().value;
}

/// Standard normal numbers, float64.
inline Tensor normal(std::uint64_t seed, at::IntArrayRef shape) {
  at::Generator generator = make_generator(seed);
  return at::empty(shape, at::kDouble).normal_(0, 1, generator);
}

}  // namespace casdm::testing
