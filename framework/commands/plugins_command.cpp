#include <algorithm>
#include <iostream>

#include "casdm/error.h"
#include "casdm/feature_extractor.h"
#include "casdm/set_metric.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/option_list.h"
#include "framework/commands/plugins_new.h"
#include "framework/config/document.h"
#include "framework/config/example.h"
#include "framework/config/experiment.h"
#include "framework/config/wording.h"
#include "framework/loading/discovery.h"
#include "framework/loading/framework_library.h"
#include "framework/loading/lock.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace po = boost::program_options;

namespace {

constexpr const char* kPluginsUsage = R"(usage: casdm plugins list [--json]
       casdm plugins inspect NAME [--json]
       casdm plugins paths [--json]
       casdm plugins check FILE [--strict] [--json]
       casdm plugins new --kind KIND NAME [--json]
       casdm plugins lock --config FILE [--json]
       casdm plugins doctor [--json]

list, inspect, paths and lock read the notes in the plugins' files: no plugin is loaded. check, new
and doctor have their own --help; lock prints the `[[plugins.lock]]` that pins the experiment to
the plugin files it uses now, in place of the one that it may have. NAME is a plugin, a component
(`NAME` or `PLUGIN/NAME`) or a library file.

  casdm plugins list
  casdm plugins inspect backbone_mine
  casdm plugins inspect ./build/metric_mine.so
  casdm plugins paths --config configs/quickstart.toml
  casdm plugins lock --config configs/quickstart.toml >> configs/quickstart.toml
)";

using Rows = std::vector<std::vector<std::string>>;

SearchPaths search_of(const po::variables_map& parsed) {
  SearchPaths search;
  for (const std::string& file : values(parsed, "plugin")) search.files.emplace_back(file);
  if (parsed.count("config") > 0) search.config = plugin_paths(load_document(parsed["config"].as<std::string>()));
  return search;
}

Value to_value(const FoundPlugin& plugin) {
  Value value = plugin.description.info.id.empty() ? Value(Value::Table{}) : from_json(to_json(plugin.description));
  value.set("path", plugin.path.string());
  value.set("origin", plugin.origin);
  value.set("build_id", plugin.build_id);
  value.set("usable", plugin.problem.empty());
  if (!plugin.problem.empty()) value.set("problem", plugin.problem);
  if (!plugin.remark().empty()) value.set("warning", plugin.remark());
  return value;
}

/// Leaves out the components' options, which a listing does not read.
Value summary(const FoundPlugin& plugin) {
  Value value = to_value(plugin);
  const auto is_options = [](const Value::Member& member) { return member.first == "options"; };
  if (Value* components = value.find("components")) {
    for (Value& component : components->as_array()) std::erase_if(component.as_table(), is_options);
  }
  return value;
}

void list(const std::vector<FoundPlugin>& plugins, bool as_json) {
  if (as_json) {
    Value::Array all;
    for (const FoundPlugin& plugin : plugins) all.push_back(summary(plugin));
    std::cout << to_json(all, 2) << '\n';
    return;
  }
  Rows usable{{"PLUGIN", "VERSION", "KIND", "COMPONENTS"}};
  Rows unusable;
  for (const FoundPlugin& plugin : plugins) {
    if (!plugin.problem.empty()) {
      unusable.push_back({printable(plugin.path.string()), printable(plugin.problem)});
      continue;
    }
    std::vector<std::pair<std::string, std::vector<std::string>>> kinds;
    for (const ComponentEntry& component : plugin.description.components) {
      if (kinds.empty() || kinds.back().first != component.kind) kinds.push_back({component.kind, {}});
      kinds.back().second.push_back(component.name);
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      usable.push_back({i == 0 ? plugin.description.info.id : "", i == 0 ? plugin.description.info.version : "",
                        kinds[i].first, join(kinds[i].second, ", ")});
    }
  }
  std::cout << (usable.size() > 1 ? text_table(usable)
                                  : "no usable plugin; `casdm plugins paths` shows where casdm looked\n");
  if (unusable.empty()) return;
  std::cout << "\ncannot be used:\n";
  for (const auto& row : unusable) std::cout << "  " << printable(row[0]) << ' ' << printable(row[1]) << '\n';
}

void print(const FoundPlugin& plugin, const std::string& only) {
  const PluginDescription& description = plugin.description;
  std::string stamp;
  for (const auto& [field, value] : parse_stamp(description.stamp))
    stamp += text(stamp.empty() ? "" : "\n", field, " ", value);
  std::cout << text_table({{"plugin", text(description.info.id, " ", description.info.version)},
                           {"summary", description.info.summary},
                           {"licence", description.info.licence},
                           {"file", plugin.path.string()},
                           {"found by", plugin.origin},
                           {"build id", plugin.build_id.empty() ? "(none)" : plugin.build_id},
                           {"built with", stamp},
                           {"usable", plugin.problem.empty() ? "yes" : "no: " + plugin.problem}});
  if (!plugin.remark().empty()) std::cout << "warning: it " << printable(plugin.remark()) << '\n';
  for (const ComponentEntry& component : description.components) {
    if (!only.empty() && component.name != only) continue;
    const std::string options = option_list(component.options, terminal_width());
    std::cout << text("\n", printable(component.kind), " ", printable(component.name), "\n")
              << text_table({{wrapped(component.doc, terminal_width() - 2)}}, 2) << '\n'
              << (options.empty() ? "  (no options)\n" : options);
  }
}

/// Does `name` stand for `plugin` or one of its components? In the second case sets `only` to that component.
bool is_meant(const FoundPlugin& plugin, const std::string& name, std::string& only) {
  only.clear();
  const std::string& id = plugin.description.info.id;
  if (name == id || plugin.path == std::filesystem::weakly_canonical(name)) return true;
  const std::string component = name.starts_with(id + "/") ? name.substr(id.size() + 1) : name;
  for (const ComponentEntry& entry : plugin.description.components) {
    if (entry.name == component) only = component;
  }
  return !only.empty();
}

/// Keeps only the component called `name`; all of them if it is empty.
Value only_component(Value plugin, const std::string& name) {
  const auto is_other = [&](const Value& component) { return *component.find("name") != Value(name); };
  if (!name.empty()) std::erase_if(plugin.find("components")->as_array(), is_other);
  return plugin;
}

void inspect(const std::vector<FoundPlugin>& plugins, const std::string& name, bool as_json) {
  std::vector<std::string> known;
  Value::Array found;
  for (const FoundPlugin& plugin : plugins) {
    std::string only;
    known.push_back(plugin.description.info.id);
    for (const ComponentEntry& component : plugin.description.components) known.push_back(component.name);
    if (!is_meant(plugin, name, only)) continue;
    if (!as_json) {
      std::cout << (found.empty() ? "" : "\n");
      print(plugin, only);
    }
    found.push_back(only_component(to_value(plugin), only));
  }
  if (found.empty()) {
    const std::vector<std::string> likely = nearest(name, known);
    throw ConfigError(text("no plugin, component or library is named '", name, "'",
                           likely.empty() ? "; " : text("; did you mean '", join(likely, "' or '"), "'? "),
                           "`casdm plugins list` shows all"));
  }
  if (as_json) std::cout << to_json(found.size() == 1 ? found.front() : Value(found), 2) << '\n';
}

void paths(const SearchPaths& search, const std::vector<FoundPlugin>& plugins, bool as_json) {
  Rows rows{{"PLACE", "FROM", "LIBRARIES"}};
  Value::Array all;
  for (const SearchPlace& place : search.places()) {
    std::error_code error;
    const bool exists = std::filesystem::exists(place.path, error);
    const std::filesystem::path canonical = std::filesystem::weakly_canonical(place.path, error);
    std::int64_t count = 0;
    for (const FoundPlugin& plugin : plugins) {
      count += plugin.origin == place.origin && (plugin.path == canonical || plugin.path.parent_path() == canonical);
    }
    rows.push_back({place.path.string(), place.origin, exists ? std::to_string(count) : "(does not exist)"});
    Value item{Value::Table{}};
    item.set("path", place.path.string());
    item.set("origin", place.origin);
    item.set("exists", exists);
    item.set("libraries", count);
    all.push_back(std::move(item));
  }
  std::cout << (as_json ? to_json(all, 2) + "\n" : text_table(rows));
}

void lock(const po::variables_map& parsed) {
  if (parsed.count("config") == 0) throw ConfigError("plugins: lock needs --config FILE, the experiment to lock");
  const Value document = load_document(parsed["config"].as<std::string>());
  const PluginCatalog catalog = PluginCatalog::discover(search_of(parsed));
  const Value resolved = resolve(document, schema_of<Experiment>(), catalog);
  Value::Array entries;
  std::string toml;  // without a [plugins] of its own, so that it can be appended to the experiment
  std::vector<const FoundPlugin*> plugins = plugins_of(resolved, catalog);
  // `casdm evaluate` judges by these unless the experiment names others.
  for (const std::string_view kind : {FeatureExtractor::kind, SetMetric::kind}) {
    for (const std::string& type : recommended_components(kind, catalog)) {
      const FoundPlugin* owner = &catalog.owner(kind, type);
      if (std::find(plugins.begin(), plugins.end(), owner) == plugins.end()) plugins.push_back(owner);
    }
  }
  for (const LockedPlugin& entry : lock_of(plugins)) {
    entries.push_back(write_options(entry));
    toml += text("\n[[plugins.lock]]\n", to_toml(entries.back()));
  }
  std::cout << (parsed.count("json") > 0 ? to_json(entries, 2) + "\n" : toml);
}

}  // namespace

int plugins_command(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] == "check") {
    return run_in_framework("casdm_plugins_check_command", {arguments.begin() + 1, arguments.end()});
  }
  if (!arguments.empty() && arguments[0] == "doctor") {
    return run_in_framework("casdm_plugins_doctor_command", {arguments.begin() + 1, arguments.end()});
  }
  if (!arguments.empty() && arguments[0] == "new") return plugins_new_command({arguments.begin() + 1, arguments.end()});
  const std::string command = "plugins";
  ArgumentRules rules{command, kPluginsUsage, po::options_description("options"), {"verb", "name"}};
  rules.visible.add_options()  //
      ("plugin", po::value<std::vector<std::string>>()->value_name("FILE"),
       "also use this library or folder; repeatable")                                                            //
      ("config", po::value<std::string>()->value_name("FILE"), "also the `[plugins] paths` of this experiment")  //
      ("json", "print JSON");
  const auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  const bool as_json = parsed->count("json") > 0;
  const std::string verb =
      chosen_verb(*parsed, command, {"list", "inspect", "paths", "check", "new", "lock", "doctor"});
  if (verb == "check" || verb == "new" || verb == "doctor") {
    throw ConfigError(text(command, ": write '", verb, "' before its options; see `casdm plugins ", verb, " --help`"));
  }
  const std::vector<std::string> name = values(*parsed, "name");
  if (verb != "inspect" && !name.empty())
    throw ConfigError(text(command, ": ", verb, " takes no '", name.front(), "'; see `casdm ", command, " --help`"));
  if (verb == "lock") {
    lock(*parsed);
    return 0;
  }
  SearchPaths search = search_of(*parsed);
  if (verb == "inspect" && !name.empty() && name.front().ends_with(".so")) search.files.emplace_back(name.front());
  const NoteDetail detail = verb == "inspect" ? NoteDetail::options : NoteDetail::summary;
  const std::vector<FoundPlugin> plugins = PluginCatalog::discover(search, detail).plugins();
  if (verb == "list") list(plugins, as_json);
  if (verb == "inspect") inspect(plugins, word(*parsed, "name", command), as_json);
  if (verb == "paths") paths(search, plugins, as_json);
  return 0;
}

}  // namespace casdm
