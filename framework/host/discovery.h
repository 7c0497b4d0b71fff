#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/plugin_description.h"
#include "framework/config/resolve.h"

namespace casdm {

/// One plugin library that was found, usable or not.
struct FoundPlugin {
  std::filesystem::path path;     ///< canonical
  std::string origin;             ///< the place it was found in: "--plugin", "[plugins] paths", ...
  PluginDescription description;  ///< from its note; empty when `problem` says why
  std::string build_id;
  std::string problem;            ///< why it cannot be used; empty: usable
};

/// Where to look, in this order; within a place files are taken by name. The current directory is never searched by itself.
struct SearchPaths {
  std::vector<std::filesystem::path> files;    ///< `--plugin`
  std::vector<std::filesystem::path> config;   ///< `[plugins] paths`: libraries or folders
  std::vector<std::filesystem::path> places(std::vector<std::string>* origins) const;
};

/// The plugins known to the host, from their notes alone: nothing is loaded.
class PluginCatalog final : public ComponentCatalog {
 public:
  /// Reads the notes of everything on the search path: files, config, CASDM_PLUGIN_PATH, the
  /// user's folder ($XDG_DATA_HOME/casdm/plugins), the installed folder (../lib/casdm/plugins of
  /// the running program). A bad file is kept with its problem and never stops the others.
  static PluginCatalog discover(const SearchPaths& search);

  const std::vector<FoundPlugin>& plugins() const { return plugins_; }

  /// The plugin that owns the component; throws ConfigError as `component` does.
  const FoundPlugin& owner(std::string_view kind, const std::string& type) const;

  const ComponentEntry& component(std::string_view kind, const std::string& type) const override;
  std::string full_name(std::string_view kind, const std::string& type) const override;

 private:
  std::vector<FoundPlugin> plugins_;
  std::vector<std::string> searched_;  ///< places, for messages
};

/// The stamp of this host.
const char* host_stamp();

/// The fields in which a plugin's stamp and the host's differ in a way that matters, as a table
/// (field, plugin, host, rule, what to do); empty when they agree.
std::string compare_stamps(std::string_view plugin, std::string_view host);

}  // namespace casdm
