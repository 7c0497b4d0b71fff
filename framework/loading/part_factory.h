#pragma once

#include "casdm/component.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "framework/loading/component.h"

namespace casdm {

class PluginHost;

/// The factory that components get in their Spec. Backbones, metrics and feature extractors that it makes are
/// attributed: what they throw, return in another form than their interface says, or change of the process is reported
/// as theirs, not as that of what contains them.
class PartFactory final : public ComponentFactory {
 public:
  explicit PartFactory(const PluginHost& host) : host_(host) {}

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config, const void* spec) const override;

 private:
  const PluginHost& host_;
};

/// What info() returns. Throws PluginError if its numbers cannot hold: bounds or an input range that do not rise, sizes
/// or channels that no image has.
MetricInfo checked_info(const Component<MetricLoss>& metric);

/// What info() returns. Throws PluginError if it declares no feature, one twice, or one without a name or a dimension.
ExtractorInfo checked_info(const Component<FeatureExtractor>& extractor);

/// What extract() returns. Throws PluginError if these are not the features `names`, each once and in this order, in
/// the form that `info` declares and on the device of the images, or if the images or the extractor's buffers have
/// changed.
NamedTensors extracted(const Component<FeatureExtractor>& extractor, const ExtractorInfo& info, const Tensor& images,
                       const std::vector<std::string>& names);

}  // namespace casdm
