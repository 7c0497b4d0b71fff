#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "casdm/options.h"
#include "casdm/stamp.h"

/// The entry of a plugin library.
///
///     CASDM_PLUGIN(plugin) {
///       plugin.describe({.summary = "Samplers of the DDPM family", .licence = "Apache-2.0"});
///       plugin.add<DdimSampler>("ddim", "Song et al. 2021, equation 12.");
///     }
///
/// A component class names its options (`using Options = DdimOptions;`), derives from one of the
/// interfaces and has a constructor (const Options&, const Interface::Spec&).
namespace casdm {

/// What a plugin says about itself. Its id and version are set by casdm_add_plugin.
struct PluginInfo {
  std::string id = {};
  std::string version = {};
  std::string summary = {};
  std::string licence = {};
};

/// One component as the host keeps it.
struct ComponentEntry {
  std::string kind;
  std::string name;
  std::string doc;
  int interface_version = 0;
  OptionSchema options;
  /// `spec` points to the Spec of the interface; the result to an object of the interface.
  std::shared_ptr<void> (*make)(const Value& options, const void* spec) = nullptr;
  bool is_recommended = false;  ///< the one of its kind that `casdm config init` takes where nothing was chosen
};

/// Receives the content of a plugin while it registers.
class PluginRegistrar {
 public:
  virtual ~PluginRegistrar();

  virtual void describe(PluginInfo info) = 0;
  /// Returns the entry as it is kept, until the next one is added.
  virtual ComponentEntry& add_entry(ComponentEntry entry) = 0;

  /// What may be said of a component after it was added.
  class Added {
   public:
    explicit Added(ComponentEntry& entry) : entry_(entry) {}
    /// `casdm config init` takes it where nothing of its kind was chosen; one component per kind.
    void recommended() { entry_.is_recommended = true; }

   private:
    ComponentEntry& entry_;
  };

  /// Registers component T under `name`.
  template <class T>
  Added add(std::string name, std::string doc) {
    using Spec = typename T::Spec;
    using Interface = typename T::Interface;
    static_assert(std::is_base_of_v<Interface, T>);
    ComponentEntry entry;
    entry.kind = T::kind;
    entry.name = std::move(name);
    entry.doc = std::move(doc);
    entry.interface_version = T::interface_version;
    entry.options = schema_of<typename T::Options>();
    entry.make = [](const Value& options, const void* spec) {
      std::shared_ptr<Interface> component =
          std::make_shared<T>(read_options<typename T::Options>(options), *static_cast<const Spec*>(spec));
      return std::static_pointer_cast<void>(component);
    };
    return Added(add_entry(std::move(entry)));
  }
};

/// Options of a component that has none.
struct NoOptions {
  static void describe(Schema<NoOptions>&) {}
};

}  // namespace casdm

extern "C" {

/// What the one exported function returns. C types only: the host reads `stamp` before it calls
/// anything whose ABI could differ. Fields are only ever appended.
struct casdm_plugin {
  std::uint32_t size;    ///< sizeof(casdm_plugin)
  std::uint32_t layout;  ///< CASDM_PLUGIN_LAYOUT
  const char* stamp;     ///< lines "field=value"; see stamp.h
  const char* id;
  const char* version;
  void (*register_components)(void* registrar);  ///< a casdm::PluginRegistrar*
};
}

#define CASDM_PLUGIN_LAYOUT 1

/// Defines the library's entry; the block that follows registers the components.
#define CASDM_PLUGIN(registrar)                                                                \
  static void casdm_register_components(::casdm::PluginRegistrar& registrar);                  \
  extern "C" __attribute__((visibility("default"))) const casdm_plugin* casdm_plugin_entry() { \
    static const casdm_plugin entry = {sizeof(casdm_plugin),                                   \
                                       CASDM_PLUGIN_LAYOUT,                                    \
                                       CASDM_STAMP,                                            \
                                       CASDM_PLUGIN_ID,                                        \
                                       CASDM_PLUGIN_VERSION,                                   \
                                       [](void* target) { casdm_register_components(*static_cast<::casdm::PluginRegistrar*>(target)); }};                                  \
    return &entry;                                                                             \
  }                                                                                            \
  static void casdm_register_components(::casdm::PluginRegistrar& registrar)
