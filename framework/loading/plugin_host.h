#pragma once

#include <concepts>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "casdm/component.h"
#include "framework/config/experiment.h"
#include "framework/loading/component.h"
#include "framework/loading/discovery.h"
#include "framework/loading/module_tensors.h"
#include "framework/loading/part_factory.h"

namespace casdm {

/// Loads the plugins that an experiment names and creates their components.
///
/// A library is loaded when its first component is created, after its stamp has been compared, and stays loaded until
/// the process ends: autograd nodes owned by tensors outlive the plugin's objects.
///
/// The first time a build of a plugin is loaded or one of its components is created, this happens in a child process,
/// so that a crash or hang becomes an error message; successes are remembered (LoadRecord).
class PluginHost final : public ComponentFactory {
 public:
  enum class Probing { on, off };

  /// @param lock     of the experiment: only these files may be loaded; empty: any
  /// @param probing  off if this process is itself a trial (conformance tests)
  explicit PluginHost(PluginCatalog catalog, std::vector<LockedPlugin> lock = {}, Probing probing = Probing::on);
  ~PluginHost() override;
  PluginHost(const PluginHost&) = delete;
  PluginHost& operator=(const PluginHost&) = delete;

  const PluginCatalog& catalog() const { return catalog_; }

  /// For the Spec of components that contain others.
  const ComponentFactory& parts() const { return parts_; }

  /// Creates a component of interface K for the host; it is used through `Component::call`.
  template <class K>
  Component<K> create(const ComponentConfig& config, const typename K::Spec& spec) const {
    Component<K> component(make<K>(config, spec), config);
    if constexpr (std::derived_from<K, Module>) require_tensors(component);
    return component;
  }

  /// Like `make`, for a kind known only at run time.
  std::shared_ptr<void> make_erased(std::string_view kind, const ComponentConfig& config, const void* spec) const {
    return make_any(kind, config, spec);
  }

  /// The plugins loaded so far.
  std::vector<UsedPlugin> used() const;

  /// Loads the library in a child process. Throws PluginError if `lock` does not allow it, or if it cannot be loaded,
  /// crashes or hangs.
  static void try_loading(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock);

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config, const void* spec) const override;

 private:
  const PluginDescription& load(const FoundPlugin& plugin) const;
  std::shared_ptr<void> make_here(const FoundPlugin& plugin, std::string_view kind, const ComponentConfig& config,
                                  const void* spec) const;
  void try_making(const FoundPlugin& plugin, std::string_view kind, const ComponentConfig& config,
                  const void* spec) const;

  PartFactory parts_{*this};
  PluginCatalog catalog_;
  std::vector<LockedPlugin> lock_;
  mutable bool is_probing_;
  mutable std::map<std::filesystem::path, PluginDescription> loaded_;
  mutable std::vector<std::pair<std::string, std::string>> made_;  ///< build id and component, in a trial
};

}  // namespace casdm
