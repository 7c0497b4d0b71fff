#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "casdm/feature_extractor.h"
#include "support/components.h"

namespace casdm::testing {

inline std::shared_ptr<FeatureExtractor> make_extractor(const std::string& type, std::int64_t image_size,
                                                        const std::string& options = "", std::int64_t channels = 3,
                                                        std::uint64_t seed = 0) {
  return make<FeatureExtractor>(type, options, {ImageShape::square(channels, image_size), seed});
}

/// One feature, without gradient.
inline Tensor feature(FeatureExtractor& extractor, const Tensor& images, const std::string& name) {
  const at::NoGradGuard no_grad;
  return extractor.extract(images, {name}).front().second;
}

inline double largest_difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace casdm::testing
