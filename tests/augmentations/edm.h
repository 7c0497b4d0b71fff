#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "casdm/augmentation.h"
#include "casdm/random.h"
#include "support/components.h"

namespace casdm::testing {

/// With every transformation off, and each that is switched on certain to be applied.
inline constexpr const char* kNothing =
    "p = 1.0\nxflip = 0\nyflip = 0\nscale = 0\nrotate_frac = 0\naniso = 0\ntranslate_frac = 0\n";

inline std::shared_ptr<Augmentation> edm(const std::string& options, std::int64_t size = 16,
                                         std::int64_t channels = 3) {
  return make<Augmentation>("edm", options, {ImageShape::square(channels, size)});
}

inline std::vector<std::uint64_t> image_seeds(std::int64_t count, std::string_view purpose = "augmentation") {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) seeds.push_back(derive_seed(7, purpose, static_cast<std::uint64_t>(i)));
  return seeds;
}

}  // namespace casdm::testing
