#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/plugin_description.h"
#include "framework/config/resolve.h"
#include "framework/loading/search_paths.h"
#include "framework/loading/stamp.h"

namespace casdm {

/// A plugin library that was found, usable or not.
struct FoundPlugin {
  std::filesystem::path path;     ///< canonical if the file exists
  std::string origin;             ///< where it was found: "--plugin", "[plugins] paths", ...
  PluginDescription description;  ///< from its note; empty if that could not be read
  std::string build_id;
  std::string problem;                   ///< why it cannot be used; empty: usable
  std::vector<std::string> needed = {};  ///< libraries that it is linked to
  bool is_named = false;                 ///< the file itself was given by `--plugin`

  /// A warning about a usable plugin, or empty.
  std::string remark() const;
};

/// How much of a note is read: a listing does not need the options.
enum class NoteDetail { summary, options };

/// The plugins known to the host, from their notes alone; nothing is loaded.
class PluginCatalog final : public ComponentCatalog {
 public:
  /// Reads the notes of everything in the search places. A bad file is kept, with its problem, and does not affect the
  /// others: a file that is not regular, that somebody other than root and the user could change, whose note is missing
  /// or damaged, or whose stamp is for another host. Two libraries with the same id are both refused; a library found
  /// twice counts once.
  static PluginCatalog discover(const SearchPaths& search, NoteDetail detail = NoteDetail::options);

  /// Only the library `path`, wherever it is.
  static PluginCatalog of_library(const std::filesystem::path& path);

  const std::vector<FoundPlugin>& plugins() const { return plugins_; }

  /// Throws PluginError that lists the unusable files given by `--plugin`: the user wanted exactly these.
  void require_files() const;

  /// What is wrong with libraries that `--plugin` or `[plugins] paths` name, since the user wanted those.
  std::vector<std::string> warnings() const;

  /// The plugin that owns the component; throws ConfigError like `component`.
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
