#include "extractor.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/log.h"
#include "casdm/text.h"

namespace casdm::metric_compose {

namespace {

bool are_equal(const NamedTensors& a, const NamedTensors& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& one, const auto& other) { return at::equal(one.second, other.second); });
}

}  // namespace

std::shared_ptr<FeatureExtractor> differentiable_extractor(const ComponentConfig& config, const MetricLoss::Spec& spec,
                                                           std::int64_t seed) {
  const auto made = [&](std::int64_t from) {
    return spec.factory->make<FeatureExtractor>(config,
                                                {.image = spec.image, .seed = static_cast<std::uint64_t>(from)});
  };
  std::shared_ptr<FeatureExtractor> extractor = made(seed);
  if (!extractor->info().is_differentiable) {
    throw ConfigError(text("extractor: no gradient reaches the images through ", config.type,
                           ", so it can judge them but not train"));
  }
  if (seed != 0 && are_equal(extractor->buffers(), made(0)->buffers())) {
    Log("metric").warning("seed = ", seed, " does nothing: ", config.type, " draws no weights; leave it out");
  }
  return extractor;
}

}  // namespace casdm::metric_compose
