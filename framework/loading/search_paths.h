#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// One place of the search path: a library, or a folder whose `*.so` are used in the order of their names.
struct SearchPlace {
  std::filesystem::path path;
  std::string origin;
};

/// The environment variable that `--safe-mode` sets: unless it is empty, only the installed folder is searched.
inline constexpr const char* kSafeMode = "CASDM_SAFE_MODE";
bool is_safe_mode();

/// Where to search, in addition to the environment.
struct SearchPaths {
  std::vector<std::filesystem::path> files;   ///< `--plugin`
  std::vector<std::filesystem::path> config;  ///< `[plugins] paths`: libraries or folders

  /// All places in order: `files`, `config`, the entries of CASDM_PLUGIN_PATH (separated by colons, absolute), the
  /// user's folder ($XDG_DATA_HOME/casdm/plugins or ~/.local/share/casdm/plugins), and the installed folder
  /// (../lib/casdm/plugins of the running program). The current directory is never added implicitly. In safe mode, only
  /// the last place.
  std::vector<SearchPlace> places() const;
};

/// `[plugins] paths` of a document that has not been validated yet, as absolute paths. Invalid entries are skipped here
/// and reported by resolve().
std::vector<std::filesystem::path> plugin_paths(const Value& document);

/// Appends `more` to `[plugins] paths` of a document.
void add_plugin_paths(Value& document, const Value::Array& more);

}  // namespace casdm
