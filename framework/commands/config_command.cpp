#include <iostream>
#include <map>
#include <set>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/shipped_files.h"
#include "framework/comparison/sweep_file.h"
#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/json_schema.h"
#include "framework/config/key_path.h"
#include "framework/config/reference.h"
#include "framework/config/starter.h"
#include "framework/loading/discovery.h"
#include "framework/loading/framework_library.h"
#include "framework/loading/lock.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "framework/support/shell_word.h"
#include "framework/training/effect.h"

namespace casdm {

namespace po = boost::program_options;

namespace {

constexpr const char* kConfigCommand = "config";
constexpr const char* kConfigUsage = R"(usage: casdm config check FILE [--set KEY=VALUE]... [--cost] [--json]
       casdm config show FILE [--set KEY=VALUE]... [--json]
       casdm config init [--type TABLE=NAME]... [--out FILE]
       casdm config schema [--whole | --sweep] [--out FILE]
       casdm config reference [--out DIR]

check      validates an experiment and looks for its data, without computing: every problem at once,
           with its location; prints a summary. --json: an object with "valid" and "components" or
           "problem". --cost: then takes some steps, for at most some 20 seconds, and prints what a
           step costs: multiply-adds, memory, time
show       prints the experiment as a run would save it: includes merged, defaults filled in
init       prints a new experiment with every key explained, from the plugins found
schema     prints a JSON Schema for editors, for files that may be parts of an experiment;
           --whole: for experiments after merging, with all required keys; --sweep: for sweeps
reference  prints Markdown pages about every key and component; --out writes one file each,
           replacing those that it wrote, with any edits

  casdm config check configs/quickstart.toml --set train.batch_size=32
  casdm config check configs/quickstart.toml --cost
  casdm config show configs/quickstart.toml --set metrics[0].type=l1
  casdm config init --type data=zip --type metrics=lpips --out configs/mine.toml
  casdm config schema --out casdm.schema.json
)";

/// As for a run, the plugins named by the file and by `--plugin` are searched first.
PluginCatalog catalog_for(const Value& document, const po::variables_map& parsed) {
  SearchPaths search;
  for (const std::string& file : values(parsed, "plugin")) search.files.emplace_back(file);
  search.config = plugin_paths(document);
  PluginCatalog catalog = PluginCatalog::discover(search);
  catalog.require_files();
  for (const std::string& warning : catalog.warnings()) std::cerr << "warning: " << warning << '\n';
  return catalog;
}

/// @param to_train  also check what training needs
Value resolved(const po::variables_map& parsed, bool to_train) {
  const Value document = load_experiment_document(word(parsed, "file", kConfigCommand), values(parsed, "set"));
  const PluginCatalog catalog = catalog_for(document, parsed);
  Value experiment = checked_experiment(document, schema_of<Experiment>(), catalog);
  if (to_train) check_before_training(experiment, catalog);
  check_lock(experiment, lock_in(experiment), catalog);
  return experiment;
}

/// The components that an experiment chooses: pairs of key and type.
void collect_types(const Value& value, const std::string& path, Value::Table& found) {
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      collect_types(value.as_array()[i], key_path(path, std::to_string(i)), found);
    }
  }
  if (!value.is_table()) return;
  const Value* type = value.find("type");
  if (type != nullptr && type->is_string()) found.emplace_back(path, type->as_string());
  for (const auto& [key, member] : value.as_table()) collect_types(member, key_path(path, key), found);
}

/// Of the command that takes the steps.
std::vector<std::string> cost_arguments(const po::variables_map& parsed) {
  std::vector<std::string> result;
  for (const char* option : {"set", "plugin"}) {
    for (const std::string& value : values(parsed, option)) result.push_back(text("--", option, "=", value));
  }
  if (parsed.count("json") > 0) result.emplace_back("--json");
  result.push_back(values(parsed, "file").front());
  return result;
}

/// Throws ConfigError if the experiment is not valid; warns on stderr.
Value::Table checked_components(const po::variables_map& parsed) {
  const Value experiment = resolved(parsed, true);
  require_effect(experiment);
  for (const std::string& weak : weak_settings(read_options<Experiment>(experiment))) {
    std::cerr << "warning: " << weak << '\n';
  }
  Value::Table types;
  collect_types(experiment, "", types);
  return types;
}

/// Returns the exit status.
int check_as_json(const po::variables_map& parsed) {
  Value result{Value::Table{{"file", word(parsed, "file", kConfigCommand)}}};
  int status = 0;
  try {
    result.set("components", Value(checked_components(parsed)));
    result.set("valid", true);
  } catch (const Error& error) {
    status = dynamic_cast<const ConfigError*>(&error) != nullptr ? 2 : 1;
    result.set("valid", false);
    result.set("problem", error.what());
  }
  std::cout << to_json(result, 2) << '\n';
  return status;
}

/// Returns the exit status.
int check(const po::variables_map& parsed) {
  const bool has_cost = parsed.count("cost") > 0, as_json = parsed.count("json") > 0;
  if (as_json && !has_cost) return check_as_json(parsed);
  const Value::Table types = checked_components(parsed);
  if (!as_json) {
    std::cout << values(parsed, "file").front() << " is valid\n";
    for (const auto& [key, type] : types) std::cout << "  " << key << ": " << type.as_string() << '\n';
    std::cout << "To create them and see whether they fit together, add --cost or use `casdm train --dry-run`.\n";
    std::cout.flush();
  }
  return has_cost ? run_in_framework("casdm_cost_command", cost_arguments(parsed)) : 0;
}

void show(const po::variables_map& parsed) {
  const Value experiment = resolved(parsed, false);
  std::cout << (parsed.count("json") > 0 ? to_json(experiment, 2) + "\n" : to_toml(experiment));
}

void write_result(const std::string& content, const po::variables_map& parsed) {
  if (parsed.count("out") == 0) {
    std::cout << content;
    return;
  }
  const std::filesystem::path file = parsed["out"].as<std::string>();
  refuse_inside_run(kConfigCommand, file);
  if (std::filesystem::exists(file))
    throw ConfigError(text(file.string(), " exists; choose another name or remove it"));
  remove_leftovers(std::filesystem::absolute(file).parent_path());
  write_file(file, content);
  std::cerr << "wrote " << file.string() << '\n';
}

void init(const po::variables_map& parsed) {
  std::map<std::string, std::string> chosen;
  for (const std::string& choice : values(parsed, "type")) {
    const std::size_t equals = choice.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw ConfigError(text("--type ", choice, ": expected TABLE=NAME: a table of the experiment and its component"));
    }
    const auto [table, is_new] = chosen.emplace(choice.substr(0, equals), choice.substr(equals + 1));
    if (!is_new && table->second != choice.substr(equals + 1)) {
      throw ConfigError(text("--type ", table->first, '=', table->second, " and --type ", choice,
                             " choose two components for one table; give one of them"));
    }
  }
  write_result(starter_experiment(schema_of<Experiment>(), catalog_for(Value(), parsed), chosen), parsed);
  if (parsed.count("out") > 0) {
    std::cerr << "Whether its components fit together: casdm train " << shell_word(parsed["out"].as<std::string>())
              << " --dry-run\n";
  }
}

void schema(const po::variables_map& parsed) {
  if (parsed.count("whole") + parsed.count("sweep") > 1) {
    throw ConfigError("config: --whole is for experiments and --sweep for sweeps; give one of them");
  }
  const SchemaOf of = parsed.count("whole") > 0 ? SchemaOf::whole : SchemaOf::piece;
  const PluginCatalog catalog = catalog_for(Value(), parsed);
  const Value result =
      parsed.count("sweep") > 0 ? sweep_json_schema(catalog) : json_schema(schema_of<Experiment>(), catalog, of);
  write_result(to_json(result, 2) + "\n", parsed);
}

/// Allows only pages that this command wrote earlier to be replaced.
void refuse_strangers(const std::filesystem::path& folder, const std::map<std::string, std::string>& pages) {
  std::vector<std::string> strangers;
  for (const auto& [name, content] : pages) {
    std::error_code ignored;
    const std::filesystem::path file = folder / name;
    if (!std::filesystem::exists(std::filesystem::symlink_status(file, ignored))) continue;
    if (std::filesystem::is_regular_file(file, ignored) && is_reference_page(read_file(file))) continue;
    strangers.push_back(name);
  }
  if (strangers.empty()) return;
  throw ConfigError(text("config: ", quoted(folder.string()), " holds ", join(strangers, ", "),
                         ", not written by `casdm config reference`; choose another folder, or move it away"));
}

void reference(const po::variables_map& parsed) {
  const auto pages = reference_pages(schema_of<Experiment>(), schema_of<SweepOptions>(), catalog_for(Value(), parsed));
  if (parsed.count("out") == 0) {
    for (const auto& [name, content] : pages) std::cout << content << '\n';
    return;
  }
  const std::filesystem::path folder = parsed["out"].as<std::string>();
  refuse_inside_run(kConfigCommand, folder);
  refuse_strangers(folder, pages);
  std::filesystem::create_directories(folder);
  remove_leftovers(folder);
  for (const auto& [name, content] : pages) {
    write_file(folder / name, content);
    std::cerr << "wrote " << (folder / name).string() << '\n';
  }
}

/// Throws ConfigError if something was given that `verb` does not take.
void refuse_idle(const std::string& verb, const po::variables_map& parsed) {
  const std::map<std::string, std::set<std::string>> taken = {{"check", {"file", "set", "plugin", "cost", "json"}},
                                                              {"show", {"file", "set", "plugin", "json"}},
                                                              {"init", {"type", "out", "plugin"}},
                                                              {"schema", {"whole", "sweep", "out", "plugin"}},
                                                              {"reference", {"out", "plugin"}}};
  for (const char* name : {"file", "set", "plugin", "type", "out", "whole", "sweep", "cost", "json"}) {
    if (parsed.count(name) == 0 || taken.at(verb).contains(name)) continue;
    const bool is_file = name == std::string_view("file");
    throw ConfigError(text("config: ", verb, " takes no ",
                           is_file ? quoted(values(parsed, name).front()) : text("--", name),
                           is_file ? "; --out writes the result to a file" : "", "; see `casdm config --help`"));
  }
}

}  // namespace

int config_command(const std::vector<std::string>& arguments) {
  ArgumentRules rules{kConfigCommand, kConfigUsage, po::options_description("options"), {"verb", "file"}};
  const auto many = [] { return po::value<std::vector<std::string>>(); };
  rules.visible.add_options()                                                                              //
      ("set", many()->value_name("KEY=VALUE"), "check, show: override one key of the file; repeatable")    //
      ("plugin", many()->value_name("FILE"), "also use this library, or folder of libraries; repeatable")  //
      ("type", many()->value_name("TABLE=NAME"), "init: the component of a table; repeatable")             //
      ("out", po::value<std::string>()->value_name("FILE"),
       "init, schema, reference: write to this new file, or for reference to this folder")  //
      ("whole", "schema: for experiments after merging")                                    //
      ("sweep", "schema: for the files of `casdm sweep`")                                   //
      ("cost", "check: also run steps of the experiment, and print their cost")             //
      ("json", "show, check: print JSON");
  auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  const std::string verb = chosen_verb(*parsed, kConfigCommand, {"check", "show", "init", "schema", "reference"});
  refuse_idle(verb, *parsed);
  if (parsed->count("file") > 0) {
    std::string& file = parsed->at("file").as<std::vector<std::string>>().front();
    file = or_shipped(file).string();
  }
  if (verb == "check") return check(*parsed);
  if (verb == "show") show(*parsed);
  if (verb == "init") init(*parsed);
  if (verb == "schema") schema(*parsed);
  if (verb == "reference") reference(*parsed);
  return 0;
}

}  // namespace casdm
