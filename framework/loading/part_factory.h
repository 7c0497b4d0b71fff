#pragma once

#include "casdm/component.h"

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

}  // namespace casdm
