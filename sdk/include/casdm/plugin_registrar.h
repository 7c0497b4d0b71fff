#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "casdm/api.h"
#include "casdm/options.h"

namespace casdm CASDM_API {

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

  /// Optional settings of a component that was added.
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

/// The options of a component without options.
struct NoOptions {
  static void describe(Schema<NoOptions>&) {}
};

}  // namespace casdm
