#include "framework/loading/part_factory.h"

#include "framework/loading/attributed.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

namespace {

/// @param Attributed  the class that passes all calls on
template <class K, class Attributed>
std::shared_ptr<void> attributed(const std::shared_ptr<void>& part, const ComponentConfig& config) {
  const std::shared_ptr<K> result =
      std::make_shared<Attributed>(Component<K>(std::static_pointer_cast<K>(part), config));
  return result;
}

}  // namespace

std::shared_ptr<void> PartFactory::make_any(std::string_view kind, const ComponentConfig& config,
                                            const void* spec) const {
  std::shared_ptr<void> part = host_.make_erased(kind, config, spec);
  if (kind == Backbone::kind) return attributed<Backbone, AttributedBackbone>(part, config);
  if (kind == MetricLoss::kind) return attributed<MetricLoss, AttributedMetric>(part, config);
  if (kind == FeatureExtractor::kind) return attributed<FeatureExtractor, AttributedExtractor>(part, config);
  return part;
}

}  // namespace casdm
