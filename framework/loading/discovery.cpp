#include "framework/loading/discovery.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "casdm/elf_note.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/user_folder.h"
#include "framework/config/document.h"
#include "framework/config/limits.h"
#include "framework/config/wording.h"
#include "framework/loading/kinds.h"
#include "framework/loading/load_record.h"
#include "framework/loading/note_summary.h"
#include "framework/loading/origins.h"
#include "framework/loading/trusted_path.h"
#include "framework/loading/unusable_option.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostShown = 20;  // unusable files listed in a message

bool is_chosen(const std::string& origin) { return origin == kCommandOrigin || origin == kConfigOrigin; }

// Anybody may have filled a folder, so searching it is limited to less than 2 s and 500 MB.
constexpr std::size_t kMostLibraries = 1000;  // in one place; for an experiment, in all its places together
constexpr std::size_t kMostNoteBytes = std::size_t{16} << 20;      // of their notes
constexpr std::uintmax_t kLargestGuest = std::uintmax_t{1} << 28;  // bytes; a lock requires hashing it

/// What has been read so far in one place.
struct Looked {
  std::size_t libraries = 0;
  std::size_t note_bytes = 0;
};

/// Ids and names are used in messages, experiments and file names.
bool is_name(const std::string& name) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  return !name.empty() && name.size() <= 100 && name.find_first_not_of(allowed) == std::string::npos;
}

std::string unusable_component(const PluginDescription& description) {
  if (!is_name(description.info.id)) {
    return text("has the id ", quoted(description.info.id), "; an id has letters, digits, '_', '-' and '.'");
  }
  for (const ComponentEntry& component : description.components) {
    if (!is_name(component.name)) {
      return text("holds a component named ", quoted(component.name), "; a name has letters, digits, '_', '-' and '.'");
    }
    const Kind* kind = find_kind(component.kind);
    if (kind == nullptr)
      return text("holds the component '", component.name, "' of kind ", quoted(component.kind),
                  ", which this host does not know; rebuild host and plugin with one SDK");
    const std::string problem = unusable_options(component.options);
    if (!problem.empty()) return text("holds the component '", component.name, "' with ", problem);
    if (kind->version == component.interface_version) continue;
    return text("holds the ", component.kind, " '", component.name, "' of interface version ",
                component.interface_version, "; this host calls version ", kind->version, ": ",
                component.interface_version > kind->version
                    ? ""
                    : text("see docs/plugins/version-", kind->version, ".md for what changed, and "),
                "rebuild the plugin with this host's SDK");
  }
  return "";
}

/// The recorded crash of a plugin, which is then not used; empty if there was none.
std::string remembered_crash(const std::string& build_id) {
  const std::string crash = LoadRecord(build_id).crash();
  if (crash.empty()) return "";
  return text("is left alone: ", crash,
              ". Rebuild it, or run `casdm plugins doctor --forget-crashes` to try it again; ",
              "--safe-mode runs with the installed plugins alone");
}

/// What can be known about the library at the canonical `path` without loading it.
FoundPlugin examine(const fs::path& path, const std::string& origin, Looked& looked,
                    NoteDetail detail = NoteDetail::options) {
  FoundPlugin plugin;
  plugin.path = path;
  plugin.origin = origin;
  if (!fs::is_regular_file(path)) {
    plugin.problem = "is not a regular file";
    return plugin;
  }
  plugin.problem = distrust(path);
  if (!plugin.problem.empty()) return plugin;
  std::error_code ignored;
  if (origin == kConfigOrigin && fs::file_size(path, ignored) > kLargestGuest) {
    plugin.problem = text("is larger than ", kLargestGuest >> 20, " MiB, the most for a library that an experiment ",
                          "brings; name it by --plugin");
    return plugin;
  }
  try {
    const std::optional<ElfNote> note = read_elf_note(path);
    if (!note) {
      plugin.problem = "is not a casdm plugin: it has no casdm note, which casdm_add_plugin writes";
      return plugin;
    }
    looked.note_bytes += note->json.size();
    if (looked.note_bytes > kMostNoteBytes) {
      plugin.problem =
          text("is not looked at: the notes of the libraries before it fill ", kMostNoteBytes >> 20, " MiB");
      return plugin;
    }
    plugin.build_id = note->build_id;
    plugin.needed = note->needed;
    plugin.description =
        detail == NoteDetail::options ? description_from_json(note->json) : summary_from_json(note->json);
  } catch (const Error& error) {
    plugin.problem = error.what();
    const std::string name = path.string() + " ";
    if (plugin.problem.starts_with(name)) plugin.problem.erase(0, name.size());
    return plugin;
  }
  // The interfaces are compared first: if they differ, the stamp differs too, but says less.
  plugin.problem = unusable_component(plugin.description);
  if (plugin.problem.empty()) {
    const std::string difference = compare_stamps(plugin.description.stamp, host_stamp());
    if (!difference.empty()) plugin.problem = "was built for another host:\n" + difference;
  }
  if (plugin.problem.empty()) plugin.problem = remembered_crash(plugin.build_id);
  return plugin;
}

/// The libraries of a place in the order of their names; those of a folder as entries of its canonical path. If the
/// folder has very many, only some.
std::vector<fs::directory_entry> libraries_in(const SearchPlace& place) {
  std::error_code error;
  if (!fs::is_directory(place.path, error)) return {fs::directory_entry(place.path, error)};
  std::vector<fs::directory_entry> result;
  for (fs::directory_iterator entry(fs::canonical(place.path, error), error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".so") result.push_back(*entry);
    if (result.size() > kMostLibraries) break;
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// Whether the experiment brings the plugin and the user has not allowed it: it must not displace another one.
bool is_guest(const FoundPlugin& plugin) {
  if (plugin.origin != kConfigOrigin || trusts_plugins()) return false;
  try {
    return !objection_to(plugin.path).empty();
  } catch (const Error&) {  // it cannot be read
    return true;
  }
}

/// If two files have the same id, both are refused.
void refuse_duplicates(std::vector<FoundPlugin>& plugins) {
  std::map<std::string, std::vector<std::size_t>> of_id;
  for (std::size_t i = 0; i < plugins.size(); ++i) {
    if (plugins[i].problem.empty()) of_id[plugins[i].description.info.id].push_back(i);
  }
  for (const auto& [id, found] : of_id) {
    if (found.size() == 1) continue;
    std::vector<std::size_t> guests, others;
    for (const std::size_t i : found) (is_guest(plugins[i]) ? guests : others).push_back(i);
    const auto refuse = [&](std::size_t i, const FoundPlugin& other) {
      plugins[i].problem = text("has the plugin id '", id, "', as has ", other.path.string(),
                                "; remove one of them from the search path");
    };
    const auto last_but = [](const std::vector<std::size_t>& from, std::size_t i) {
      return from.back() != i ? from.back() : from[from.size() - 2];
    };
    for (const std::size_t i : guests) refuse(i, plugins[last_but(found, i)]);
    if (others.size() < 2) continue;
    for (const std::size_t i : others) refuse(i, plugins[last_but(others, i)]);
  }
}

/// Does `type` ("plugin/component" or "component") mean `component` of `plugin`?
bool is_named(const std::string& type, const FoundPlugin& plugin, const ComponentEntry& component) {
  return type == component.name || type == plugin.description.info.id + "/" + component.name;
}

}  // namespace

std::string FoundPlugin::remark() const {
  for (const std::string& library : needed) {
    for (const std::string_view runtime : {"libgomp", "libomp", "libiomp5"}) {
      if (!library.starts_with(runtime)) continue;
      return text("links the OpenMP runtime ", library, " beside the one LibTorch brings: two thread pools, slower; ",
                  "build it with casdm_add_plugin and without -fopenmp");
    }
  }
  return "";
}

PluginCatalog PluginCatalog::discover(const SearchPaths& search, NoteDetail detail) {
  PluginCatalog catalog;
  std::set<fs::path> known;
  Looked of_config;
  for (const SearchPlace& place : search.places()) {
    Looked of_place;
    Looked& looked = place.origin == kConfigOrigin ? of_config : of_place;
    catalog.searched_.push_back(text(place.path.string(), " (", place.origin, ")"));
    std::error_code error;
    if (place.origin == kEnvironmentOrigin && place.path.is_relative()) {
      catalog.plugins_.push_back(
          {place.path, place.origin, {}, "", "is relative; CASDM_PLUGIN_PATH takes absolute paths"});
      continue;
    }
    if (!fs::exists(place.path, error)) {
      if (!is_chosen(place.origin)) continue;
      catalog.plugins_.push_back({place.path, place.origin, {}, "", "does not exist"});
      catalog.plugins_.back().is_named = place.origin == kCommandOrigin;
      continue;
    }
    const bool is_folder = fs::is_directory(place.path, error);
    for (const fs::directory_entry& library : libraries_in(place)) {
      // An entry of a canonical folder that is not a link is itself canonical.
      const bool is_canonical = is_folder && !library.is_symlink(error);
      error.clear();
      const fs::path canonical = is_canonical ? library.path() : fs::canonical(library.path(), error);
      if (!known.insert(error ? library.path() : canonical).second) continue;
      if (++looked.libraries > kMostLibraries) {
        catalog.plugins_.push_back({place.path,
                                    place.origin,
                                    {},
                                    "",
                                    text("holds more than ", kMostLibraries, " libraries; no more are looked at")});
        break;
      }
      if (error) {
        catalog.plugins_.push_back({library.path(), place.origin, {}, "", "cannot be read: " + error.message()});
      } else {
        catalog.plugins_.push_back(examine(canonical, place.origin, looked, detail));
      }
      catalog.plugins_.back().is_named = place.origin == kCommandOrigin && !is_folder;
    }
  }
  refuse_duplicates(catalog.plugins_);
  return catalog;
}

PluginCatalog PluginCatalog::of_library(const fs::path& path) {
  PluginCatalog catalog;
  std::error_code error;
  Looked looked;
  const fs::path canonical = fs::canonical(path, error);
  catalog.plugins_.push_back(error ? FoundPlugin{path, "", {}, "", "cannot be read: " + error.message()}
                                   : examine(canonical, kCommandOrigin, looked));
  return catalog;
}

void PluginCatalog::require_files() const {
  std::vector<std::string> problems;
  for (const FoundPlugin& plugin : plugins_) {
    if (!plugin.is_named || plugin.problem.empty()) continue;
    problems.push_back(text(plugin.path.string(), " (", plugin.origin, ") cannot be used: ", plugin.problem));
  }
  if (!problems.empty()) throw PluginError(join(problems, "\n"));
}

std::vector<std::string> PluginCatalog::warnings() const {
  std::vector<std::string> result;
  for (const FoundPlugin& plugin : plugins_) {
    if (plugin.problem.empty() || !is_chosen(plugin.origin)) continue;
    result.push_back(text(plugin.path.string(), " (", plugin.origin, ") cannot be used: ", plugin.problem));
  }
  if (result.size() > kMostShown) {
    const std::size_t more = result.size() - kMostShown;
    result.resize(kMostShown);
    result.push_back(text(more, " more files cannot be used; `casdm plugins list` shows them all"));
  }
  return result;
}

const FoundPlugin& PluginCatalog::owner(std::string_view kind, const std::string& type) const {
  std::vector<const FoundPlugin*> owners;
  for (const FoundPlugin& plugin : plugins_) {
    if (!plugin.problem.empty()) continue;
    for (const ComponentEntry& component : plugin.description.components) {
      if (component.kind == kind && is_named(type, plugin, component)) owners.push_back(&plugin);
    }
  }
  if (owners.size() == 1) return *owners.front();
  if (owners.empty()) fail_unknown(kind, type);
  std::vector<std::string> choices;
  for (const FoundPlugin* plugin : owners) {
    choices.push_back(text("\"", plugin->description.info.id, "/", type, "\" (", plugin->path.string(), ")"));
  }
  throw ConfigError(text("several plugins have the ", kind, " '", type, "'; write ", join(choices, " or ")));
}

void PluginCatalog::fail_unknown(std::string_view kind, const std::string& type) const {
  std::string message = text("no usable plugin has the ", kind, " ", quoted(type));
  std::vector<std::string> candidates = names(kind);
  std::string unusable;
  std::size_t count = 0;
  for (const FoundPlugin& plugin : plugins_) {
    const bool is_usable = plugin.problem.empty();
    if (!is_usable && ++count <= kMostShown)
      unusable += text("\n    cannot be used: ", plugin.path.string(), ": ", plugin.problem);
    for (const ComponentEntry& component : plugin.description.components) {
      if (is_usable && component.kind != kind && is_named(type, plugin, component)) {
        message += "; it is " + with_article(component.kind);
      }
      if (is_usable && component.kind == kind) candidates.push_back(plugin.description.info.id + "/" + component.name);
    }
  }
  if (count > kMostShown) unusable += text("\n    and ", count - kMostShown, " more files that cannot be used");
  const std::vector<std::string> likely = nearest(type, candidates);
  if (!likely.empty()) message += text("; did you mean '", join(likely, "' or '"), "'?");
  const std::vector<std::string> available = names(kind);
  message += text(likely.empty() ? "; " : " ", "available: ", available.empty() ? "none" : join(available, ", "));
  message +=
      text("\n    looked in: ", join(searched_, ", "), is_safe_mode() ? "; nowhere else, in safe mode" : "", unusable);
  throw ConfigError(message);
}

const ComponentEntry& PluginCatalog::component(std::string_view kind, const std::string& type) const {
  return *owner(kind, type).description.find(kind, component_name(type));
}

std::string PluginCatalog::full_name(std::string_view kind, const std::string& type) const {
  return owner(kind, type).description.info.id + "/" + component_name(type);
}

std::vector<std::string> PluginCatalog::names(std::string_view kind) const {
  std::multiset<std::string> bare;
  for (const FoundPlugin& plugin : plugins_) {
    for (const ComponentEntry& component : plugin.description.components) {
      if (plugin.problem.empty() && component.kind == kind) bare.insert(component.name);
    }
  }
  std::vector<std::string> result;
  for (const FoundPlugin& plugin : plugins_) {
    for (const ComponentEntry& component : plugin.description.components) {
      if (!plugin.problem.empty() || component.kind != kind) continue;
      const bool is_unique = bare.count(component.name) == 1;
      result.push_back(is_unique ? component.name : plugin.description.info.id + "/" + component.name);
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace casdm
