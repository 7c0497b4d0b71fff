#include "framework/host/plugin_host.h"

#include <boost/dll/shared_library.hpp>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/host/plugin_call.h"

namespace casdm {

namespace {

namespace dll = boost::dll;

/// Loads bound now and local, and leaks the handle: a plugin is never closed.
const dll::shared_library& open_forever(const std::filesystem::path& path) {
  try {
    return *new dll::shared_library(path, dll::load_mode::rtld_now | dll::load_mode::rtld_local);
  } catch (const std::exception& error) {
    throw PluginError(text(path.string(), " cannot be loaded: ", error.what()));
  }
}

const casdm_plugin& entry_of(const dll::shared_library& library, const std::filesystem::path& path) {
  if (!library.has("casdm_plugin_entry")) throw PluginError(text(path.string(), " exports no casdm_plugin_entry"));
  const casdm_plugin* entry = library.get<const casdm_plugin*()>("casdm_plugin_entry")();
  if (entry == nullptr || entry->size < sizeof(casdm_plugin) || entry->layout != CASDM_PLUGIN_LAYOUT) {
    throw PluginError(text(path.string(), " has an entry of an unknown layout; rebuild it with this SDK"));
  }
  const std::string difference = compare_stamps(entry->stamp, host_stamp());
  if (!difference.empty()) throw PluginError(text(path.string(), " was built for another host:\n", difference));
  return *entry;
}

}  // namespace

std::string place_of(const ComponentConfig& component) {
  const Location& location = component.table.location();
  const std::string file = to_string(location);
  return text(file, file.empty() ? "" : ": ", location.key, location.key.empty() ? "" : ": ", component.type, ": ");
}

PluginHost::PluginHost(PluginCatalog catalog) : catalog_(std::move(catalog)) {}

PluginHost::~PluginHost() = default;

std::vector<UsedPlugin> PluginHost::used() const {
  std::vector<UsedPlugin> result;
  for (const FoundPlugin& plugin : catalog_.plugins()) {
    if (!loaded_.contains(plugin.path)) continue;
    result.push_back({plugin.description.info.id, plugin.description.info.version, plugin.build_id});
  }
  return result;
}

const PluginDescription& PluginHost::load(const FoundPlugin& plugin) const {
  const auto known = loaded_.find(plugin.path);
  if (known != loaded_.end()) return known->second;
  const casdm_plugin& entry = entry_of(open_forever(plugin.path), plugin.path);
  PluginDescription description = describe_plugin(entry);
  if (to_json(description) != to_json(plugin.description)) {
    throw PluginError(text(plugin.path.string(), " declares other components in its code than in its note; build it ",
                           "with casdm_add_plugin, which writes the note"));
  }
  return loaded_.emplace(plugin.path, std::move(description)).first->second;
}

std::shared_ptr<void> PluginHost::make_any(std::string_view kind, const ComponentConfig& config,
                                           const void* spec) const {
  const FoundPlugin& plugin = catalog_.owner(kind, config.type);
  const std::string name = config.type.substr(config.type.find('/') + 1);
  const ComponentEntry* component = load(plugin).find(kind, name);
  if (component == nullptr || component->make == nullptr) {
    throw PluginError(text(plugin.path.string(), " cannot make the ", kind, " '", name, "' that its note lists"));
  }
  try {
    return component->make(config.table, spec);
  } catch (const ConfigError& error) {
    throw ConfigError(place_of(config) + error.what());
  } catch (const Error& error) {
    throw Error(place_of(config) + error.what());
  } catch (const std::exception& error) {
    throw PluginError(text(place_of(config), "could not be made: ", error.what()));
  }
}

}  // namespace casdm
