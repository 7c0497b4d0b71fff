#include "framework/comparison/sweep_evaluation.h"

#include <algorithm>
#include <charconv>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/overrides.h"
#include "framework/config/problems.h"
#include "framework/loading/discovery.h"
#include "framework/support/comma_list.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = "--config";
constexpr const char* kWeights = "--weights";

/// Options that take a value, and flags.
const std::vector<std::string> kWithValue = {
    kConfig,  "--num",   kWeights,  "--guidance",  "--steps",    "--sampler", "--eta",     "--set",
    "--seed", "--batch", "--label", "--reference", "--held-out", "--device",  "--nearest", "--nearest-by"};
const std::vector<std::string> kFlags = {"--floor", "--no-cache"};
/// Those whose value is a path.
const std::vector<std::string> kPaths = {kConfig, "--reference", "--held-out"};
/// Options that only the user may give.
const std::vector<std::string> kOfTheUser = {"--plugin", "--write-reference", "--out",           "--state",
                                             "--json",   "--overwrite",       "--allow-rebuilt", "--trust-plugins"};

bool is_in(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

struct Option {
  std::string name;
  std::string value;
  std::size_t index = 0;  ///< the position of its first argument
};

std::string why_not(const std::string& name) {
  if (is_in(kOfTheUser, name)) {
    return text(quoted(name), " is not allowed in a sweep file",
                name == "--plugin" ? "; give it to the command: casdm sweep --plugin FILE" : "");
  }
  std::vector<std::string> known = kWithValue;
  known.insert(known.end(), kFlags.begin(), kFlags.end());
  const std::vector<std::string> near = nearest(name, known, 1);
  return text("expected an option of `casdm evaluate`, got ", quoted(name),
              near.empty() ? "; `casdm evaluate --help` lists them" : text("; did you mean '", near.front(), "'?"));
}

/// The options in `arguments`. Calls `fail(index, why)` for an argument that is not an option.
template <class Fail>
std::vector<Option> options_in(const std::vector<std::string>& arguments, const Fail& fail) {
  std::vector<Option> options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::size_t equals = arguments[i].find('=');
    Option option{arguments[i].substr(0, equals), equals == std::string::npos ? "" : arguments[i].substr(equals + 1),
                  i};
    const bool takes_value = is_in(kWithValue, option.name);
    if (!takes_value && (!is_in(kFlags, option.name) || equals != std::string::npos)) {
      fail(i, why_not(option.name));
      continue;
    }
    if (takes_value && equals == std::string::npos) {
      if (i + 1 == arguments.size()) {
        fail(i, text(quoted(option.name), " needs a value after it"));
        break;
      }
      option.value = arguments[++i];
    }
    options.push_back(std::move(option));
  }
  return options;
}

/// `value` as a path relative to the folder of the sweep file.
fs::path path_of(const std::string& value, const fs::path& file) {
  return (fs::absolute(file).parent_path() / value).lexically_normal();
}

/// Why the option cannot have this value; empty: it can.
std::string why_no_value(const Option& option, const fs::path& file) {
  std::error_code ignored;
  if (is_in(kPaths, option.name)) {
    const fs::path path = path_of(option.value, file);
    return fs::exists(path, ignored) ? "" : text(quoted(shorter(path).string()), " does not exist");
  }
  const bool is_from_zero = is_in({"--seed", "--label"}, option.name);
  if (!is_from_zero && !is_in({"--num", "--batch", "--nearest"}, option.name)) return "";
  std::int64_t number = 0;
  const char* end = option.value.data() + option.value.size();
  const auto [stopped, failure] = std::from_chars(option.value.data(), end, number);
  if (failure == std::errc() && stopped == end && number >= (is_from_zero ? 0 : 1)) return "";
  return text("expected a whole number of at least ", is_from_zero ? 0 : 1, ", got ", quoted(option.value));
}

/// "10,50" for the key K: K=10 and K=50.
std::vector<std::string> settings_of(const std::string& key, const std::string& list) {
  std::vector<std::string> result;
  for (const std::string& value : values_of_list(list)) result.push_back(text(key, '=', value));
  return result;
}

/// The weights in the checkpoints of an experiment.
std::vector<std::string> weights_of(const Value& experiment) {
  std::vector<std::string> names = {"ema", "raw"};
  const Value* also = find_path(experiment, "ema.also");
  if (also == nullptr || !also->is_array()) return names;
  for (const Value& average : also->as_array()) {
    const Value* name = average.find("name");
    if (name != nullptr && name->is_string()) names.push_back(name->as_string());
  }
  return names;
}

/// The values of --weights, those that are not `names` of weights as paths: relative to the sweep file where it has
/// such a file.
std::vector<std::string> weights_in(const std::string& list, const fs::path& file,
                                    const std::vector<std::string>& names) {
  const auto is_file = [&](const std::string& value) {
    std::error_code ignored;
    return !is_in(names, value) && fs::is_regular_file(path_of(value, file), ignored);
  };
  std::vector<std::string> values = values_of_list(list, is_file);
  for (std::string& value : values) {
    if (is_file(value)) value = path_of(value, file).string();
  }
  return values;
}

std::vector<std::string> weights_in(const std::string& list, const Sweep& sweep) {
  std::vector<std::string> names;
  for (const SweepCell& cell : sweep.cells) {
    const std::vector<std::string> of_cell = weights_of(cell.experiment);
    names.insert(names.end(), of_cell.begin(), of_cell.end());
  }
  return weights_in(list, sweep.file, names);
}

/// What each cell's experiment must accept: each of `lines` in turn, set after `before`.
struct Asked {
  Value config{Value::Table{}};           ///< [evaluate] of --config
  Value::Array plugin_paths;              ///< its [plugins] paths
  std::vector<std::string> before;        ///< --set, --sampler, --eta
  std::vector<std::string> lines = {""};  ///< one per --steps or --guidance; empty: none
};

Asked asked_by(const std::vector<Option>& options, const fs::path& file) {
  Asked asked;
  for (const Option& option : options) {
    if (option.name == "--set") asked.before.push_back(option.value);
    if (option.name == "--sampler") {
      asked.before.insert(asked.before.begin(), text("sampler={type=", to_toml_value(Value(option.value)), "}"));
    }
    if (option.name == "--eta") asked.before.push_back("sampler.eta=" + option.value);
    if (option.name == "--steps" || option.name == "--guidance") {
      const std::string key = option.name == "--steps" ? "sampler.num_inference_steps" : "guidance.scale";
      const std::vector<std::string> lines = settings_of(key, option.value);
      asked.lines.insert(asked.lines.end(), lines.begin(), lines.end());
    }
    if (option.name != kConfig) continue;
    const Value piece = load_document(shorter(path_of(option.value, file)));
    const Value* evaluate = piece.find("evaluate");
    if (evaluate == nullptr) throw ConfigError(text(kConfig, " ", option.value, " has no [evaluate]"));
    asked.config.set("evaluate", *evaluate);
    const Value* paths = find_path(piece, "plugins.paths");
    if (paths != nullptr && paths->is_array()) asked.plugin_paths = paths->as_array();
  }
  return asked;
}

/// Throws if the options name something that the experiment does not have.
void check_names(const std::vector<Option>& options, const Value& experiment, const fs::path& file) {
  const Value* uses_labels = find_path(experiment, "data.use_labels");
  const std::vector<std::string> names = weights_of(experiment);
  for (const Option& option : options) {
    if (option.name == "--label" && (uses_labels == nullptr || *uses_labels == Value(false))) {
      throw ConfigError(text("--label ", option.value, ": the run has no labels (data.use_labels)"));
    }
    if (option.name != kWeights) continue;
    for (const std::string& asked : weights_in(option.value, file, names)) {
      std::error_code ignored;
      if (is_in(names, asked) || (fs::path(asked).is_absolute() && fs::is_regular_file(asked, ignored))) continue;
      throw ConfigError(text("--weights ", quoted(asked), ": expected ", join(names, ", "),
                             ", or a file, relative to the sweep file"));
    }
  }
}

}  // namespace

fs::path shorter(const fs::path& path) {
  const fs::path relative = path.lexically_proximate(fs::current_path());
  return relative.empty() || *relative.begin() == ".." ? path : relative;
}

void check_evaluation(const std::vector<std::string>& arguments, const fs::path& file, const Value& document) {
  Problems problems;
  const auto fail = [&](std::size_t index, const std::string& why) {
    const Value* word = find_path(document, text("evaluate.", index));
    problems.add(word == nullptr ? document.location() : word->location(), why);
  };
  for (const Option& option : options_in(arguments, fail)) {
    if (const std::string why = why_no_value(option, file); !why.empty()) {
      fail(option.index, text(option.name, ": ", why));
    }
  }
  problems.finish();
}

void check_evaluated_arms(const Sweep& sweep, const Value& document,
                          const std::function<const ComponentCatalog&(const Value&)>& catalog_of) {
  if (!sweep.evaluate) return;
  const std::vector<Option> options = options_in(*sweep.evaluate, [](std::size_t, const std::string&) {});
  std::string arm;
  try {
    const Asked asked = asked_by(options, sweep.file);
    for (const SweepCell& cell : sweep.cells) {
      if (cell.seed != sweep.cells.front().seed) break;
      arm = text(" of the arm '", sweep.points[cell.point].name, "'");
      for (const std::string& line : asked.lines) {
        Value experiment = cell.experiment;
        merge(experiment, asked.config, &host_schema());
        add_plugin_paths(experiment, asked.plugin_paths);
        std::vector<std::string> lines = asked.before;
        if (!line.empty()) lines.push_back(line);
        apply_overrides(experiment, lines);
        check_names(options, checked_experiment(experiment, schema_of<Experiment>(), catalog_of(experiment)),
                    sweep.file);
      }
    }
  } catch (const ConfigError& error) {
    fail_at(document.find("evaluate")->location(), text("an evaluation", arm, " is not possible: ", error.what()));
  }
}

std::vector<std::string> evaluation_words(const Sweep& sweep) {
  std::vector<std::string> arguments = *sweep.evaluate;
  for (const Option& option : options_in(*sweep.evaluate, [](std::size_t, const std::string&) {})) {
    const bool is_weights = option.name == kWeights;
    if (!is_weights && !is_in(kPaths, option.name)) continue;
    const std::string value =
        is_weights ? join(weights_in(option.value, sweep), ",") : path_of(option.value, sweep.file).string();
    const bool is_joined = arguments[option.index].find('=') != std::string::npos;
    arguments[option.index + (is_joined ? 0 : 1)] = is_joined ? text(option.name, '=', value) : value;
  }
  return arguments;
}

Value evaluation_of(const Sweep& sweep) {
  if (!sweep.evaluate) return {};
  Value::Array result(sweep.evaluate->begin(), sweep.evaluate->end());
  for (const Option& option : options_in(*sweep.evaluate, [](std::size_t, const std::string&) {})) {
    std::error_code ignored;
    if (option.name == kConfig) {  // with what it includes
      const fs::path config = path_of(option.value, sweep.file);
      if (fs::is_regular_file(config, ignored)) result.emplace_back(sha256(to_json(load_document(config))));
    }
    if (option.name != kWeights) continue;
    for (const std::string& path : weights_in(option.value, sweep)) {
      if (fs::path(path).is_absolute() && fs::is_regular_file(path, ignored)) result.emplace_back(sha256_of_file(path));
    }
  }
  return Value(std::move(result));
}

}  // namespace casdm
