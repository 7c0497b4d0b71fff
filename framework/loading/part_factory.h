#pragma once

#include "casdm/component.h"
#include "casdm/feature_extractor.h"
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

/// What extract() returns. Throws PluginError if these are not the features `names`, each once and in this order, or if
/// the extractor's buffers have changed.
NamedTensors extracted(const Component<FeatureExtractor>& extractor, const Tensor& images,
                       const std::vector<std::string>& names);

}  // namespace casdm
