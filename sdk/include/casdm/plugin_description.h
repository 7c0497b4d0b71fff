#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "casdm/api.h"
#include "casdm/plugin_registrar.h"

struct casdm_plugin;

namespace casdm CASDM_API {

/// The fields of a stamp, one "field=value" per line, in the order they were written.
std::vector<std::pair<std::string, std::string>> parse_stamp(std::string_view stamp);

/// A plugin as its note describes it: all that can be known without running its code.
struct PluginDescription {
  PluginInfo info;
  std::string stamp;
  std::vector<ComponentEntry> components;  ///< `make` is empty unless made by calling the plugin

  /// The component `name` of `kind`, or null.
  const ComponentEntry* find(std::string_view kind, std::string_view name) const;
};

std::string to_json(const PluginDescription& description);

/// Throws PluginError when the text is not such a description.
PluginDescription description_from_json(std::string_view json);

/// What the plugin's own code declares. `entry` must have been checked against the host's stamp.
PluginDescription describe_plugin(const casdm_plugin& entry);

}  // namespace casdm
