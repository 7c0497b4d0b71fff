#pragma once

#include <memory>
#include <string_view>

#include "casdm/api.h"
#include "casdm/options.h"

namespace casdm CASDM_API {

/// Makes components by the name they have in the experiment file. The host implements it; a
/// component that contains others (a head its backbones, a metric decorator its metric) gets it
/// in its Spec. Valid for as long as the component that received it.
class ComponentFactory {
 public:
  virtual ~ComponentFactory();

  /// A new component of interface K. Throws ConfigError or PluginError with plugin, component and
  /// key path when its constructor throws.
  template <class K>
  std::shared_ptr<K> make(const ComponentConfig& config, const typename K::Spec& spec) const {
    return std::static_pointer_cast<K>(make_any(K::kind, config, &spec));
  }

 protected:
  virtual std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config,
                                         const void* spec) const = 0;
};

}  // namespace casdm
