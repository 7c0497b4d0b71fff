#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/plugin_description.h"
#include "framework/config/resolve.h"
#include "framework/loading/stamp.h"

namespace casdm {

/// One plugin library that was found, usable or not.
struct FoundPlugin {
  std::filesystem::path path;     ///< canonical, where the file exists
  std::string origin;             ///< the place it was found in: "--plugin", "[plugins] paths", ...
  PluginDescription description;  ///< from its note; empty when that could not be read
  std::string build_id;
  std::string problem;                   ///< why it cannot be used; empty: usable
  std::vector<std::string> needed = {};  ///< libraries it is linked to
  bool is_named = false;                 ///< the file itself was given by `--plugin`

  /// What the user should know of a plugin that can be used; empty: nothing.
  std::string remark() const;
};

/// One place of the search path: a library, or a folder whose `*.so` are taken by name.
struct SearchPlace {
  std::filesystem::path path;
  std::string origin;
};

/// The environment variable that `--safe-mode` sets: not empty, only the installed folder is searched.
inline constexpr const char* kSafeMode = "CASDM_SAFE_MODE";
bool is_safe_mode();

/// Where to look beyond the environment.
struct SearchPaths {
  std::vector<std::filesystem::path> files;   ///< `--plugin`
  std::vector<std::filesystem::path> config;  ///< `[plugins] paths`: libraries or folders

  /// All places in their order: `files`, `config`, the entries of CASDM_PLUGIN_PATH (separated by
  /// colons, absolute), the user's folder ($XDG_DATA_HOME/casdm/plugins or
  /// ~/.local/share/casdm/plugins), the installed folder (../lib/casdm/plugins of the running
  /// program). The current directory is never among them by itself. In safe mode: the last alone.
  std::vector<SearchPlace> places() const;
};

/// `[plugins] paths` of a document that has not been validated yet, absolute. What is wrong in it
/// is skipped here and reported by resolve().
std::vector<std::filesystem::path> plugin_paths(const Value& document);

/// How much of a note is read: a listing needs no options.
enum class NoteDetail { summary, options };

/// The plugins known to the host, from their notes alone: nothing is loaded.
class PluginCatalog final : public ComponentCatalog {
 public:
  /// Reads the notes of everything in the search places. A bad file is kept with its problem and
  /// never stops the others: one that is not a regular file, that someone else than root and the user
  /// could change, whose note is missing or damaged, whose stamp is another host's. Two libraries
  /// with one id are both refused; one library that is found twice counts once.
  static PluginCatalog discover(const SearchPaths& search, NoteDetail detail = NoteDetail::options);

  /// The one library `path`, wherever it lies.
  static PluginCatalog of_library(const std::filesystem::path& path);

  const std::vector<FoundPlugin>& plugins() const { return plugins_; }

  /// Throws PluginError that lists the files of `--plugin` that cannot be used: the user meant exactly these.
  void require_files() const;

  /// What is wrong with libraries that `--plugin` or `[plugins] paths` name: the user meant those.
  std::vector<std::string> warnings() const;

  /// The plugin that owns the component; throws ConfigError as `component` does.
  const FoundPlugin& owner(std::string_view kind, const std::string& type) const;

  const ComponentEntry& component(std::string_view kind, const std::string& type) const override;
  std::string full_name(std::string_view kind, const std::string& type) const override;
  std::vector<std::string> names(std::string_view kind) const override;

 private:
  [[noreturn]] void fail_unknown(std::string_view kind, const std::string& type) const;

  std::vector<FoundPlugin> plugins_;
  std::vector<std::string> searched_;  ///< places, for messages
};

}  // namespace casdm
