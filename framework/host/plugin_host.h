#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "casdm/component.h"
#include "framework/config/experiment.h"
#include "framework/host/discovery.h"

namespace casdm {

/// Loads the plugins that an experiment names and makes their components.
///
/// A library is loaded when its first component is made, after its stamp was compared, and stays
/// loaded until the process ends: autograd nodes owned by tensors outlive the plugin's objects.
class PluginHost final : public ComponentFactory {
 public:
  explicit PluginHost(PluginCatalog catalog);
  ~PluginHost() override;

  const PluginCatalog& catalog() const { return catalog_; }

  /// `make` for a kind known at run time only.
  std::shared_ptr<void> make_erased(std::string_view kind, const ComponentConfig& config, const void* spec) const {
    return make_any(kind, config, spec);
  }

  /// The plugins loaded so far.
  std::vector<UsedPlugin> used() const;

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config,
                                 const void* spec) const override;

 private:
  const PluginDescription& load(const FoundPlugin& plugin) const;

  PluginCatalog catalog_;
  mutable std::map<std::filesystem::path, PluginDescription> loaded_;
};

}  // namespace casdm
