#include "framework/training/initial_weights.h"

#include <algorithm>
#include <iostream>
#include <optional>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/support/broken_tensors.h"
#include "framework/support/files.h"
#include "framework/training/checkpoint.h"
#include "framework/training/network_check.h"
#include "framework/training/pretrained.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// A file of weights, and the checkpoint it belongs to.
struct Source {
  fs::path file;
  std::string sha256;
  std::optional<Checkpoint> checkpoint;
};

Source source_at(const fs::path& from) {
  if (fs::is_regular_file(from)) return {from, sha256_of_file(from), std::nullopt};
  Checkpoint checkpoint = Checkpoint::open(from);
  return {checkpoint.file("ema"), checkpoint.sha256_of("ema"), checkpoint};
}

Source source_of(const InitOptions& init) {
  try {
    return source_at(init.from);
  } catch (const NoCheckpoint& error) {
    throw ConfigError(text("init: from = ", quoted(init.from.string()), " of module ", quoted(init.module),
                           " is neither a safetensors file nor a run or checkpoint: ", error.what(),
                           ". `casdm import` makes a safetensors file from the weights of other programs"));
  }
}

Value record_of(const InitOptions& init, const Source& source) {
  Value result{Value::Table{}};
  result.set("from", init.from.string());
  result.set("file", source.file.string());
  result.set("sha256", source.sha256);
  if (source.checkpoint) result.set("images", source.checkpoint->images());
  return result;
}

std::string string_in(const Value& taken, const char* key) { return taken.find(key)->as_string(); }

/// The file that the run used at an earlier start, if it is still there.
std::optional<Source> taken_before(const Value& taken) {
  const fs::path file = string_in(taken, "file");
  const bool is_of_checkpoint = taken.find("images") != nullptr;
  try {
    Source source = source_at(is_of_checkpoint ? file.parent_path() : file);
    if (source.sha256 == string_in(taken, "sha256")) return source;
  } catch (const Error&) {  // gone, or damaged
  }
  return std::nullopt;
}

/// The file that `init` names; if the run was started before with the same `from`, the file used then.
/// @param taken  the module's entry in init.json; null: none
Source source_of(const InitOptions& init, const Value* taken) {
  if (taken == nullptr || string_in(*taken, "from") != init.from.string()) return source_of(init);
  if (std::optional<Source> before = taken_before(*taken)) return *before;
  Source now = source_of(init);
  if (now.sha256 == string_in(*taken, "sha256")) return now;
  throw Error(
      text("module ", init.module, " of this run started from ", string_in(*taken, "file"), " with the SHA-256 ",
           string_in(*taken, "sha256"), ", which is gone, and ", init.from.string(),
           " holds other weights now. The run has no checkpoint to continue from: put that file back, or begin a "
           "new run (`casdm train CONFIG --overwrite`)"));
}

/// The weights that the run used at an earlier start, by module; an empty table if there was none.
Value earlier_record(const fs::path& record) {
  if (record.empty() || !fs::exists(record)) return Value(Value::Table{});
  try {
    Value result = from_json(read_file(record));
    if (!result.is_table()) throw Error("expected a table of modules");
    for (const auto& [module, taken] : result.as_table()) {
      for (const char* key : {"from", "file", "sha256"}) {
        const Value* value = taken.is_table() ? taken.find(key) : nullptr;
        if (value == nullptr || !value->is_string()) throw Error(text("module ", module, " has no '", key, "'"));
      }
    }
    return result;
  } catch (const Error& error) {
    throw Error(text(record.string(), ", which says what weights the run started from, cannot be used: ", error.what(),
                     ". Without it the run starts from what [[init]] names as it is now"));
  }
}

Pretrained weights_in(const Source& source, const std::string& module) {
  return source.checkpoint ? pretrained(*source.checkpoint, module) : pretrained(source.file, module);
}

std::vector<NamedModule>::const_iterator find_module(const std::vector<NamedModule>& modules, const InitOptions& init) {
  const auto module =
      std::find_if(modules.begin(), modules.end(), [&](const NamedModule& m) { return m.name == init.module; });
  if (module == modules.end()) throw ConfigError(text("init: the head has no module '", init.module, "'"));
  if (!module->average_of.empty()) {
    throw ConfigError(text("init: module ", quoted(init.module), " is the running average of ",
                           quoted(module->average_of), ", so it starts as a copy of that and follows it: give ",
                           quoted(module->average_of), " the weights"));
  }
  return module;
}

/// @param place  of init.from
void load_given(const Pretrained& weights, const NamedModule& module, const InitOptions& init, const Location& place) {
  try {
    load_state(*module.module, weights.file.tensors, init.from.string());
  } catch (const ConfigError& error) {
    fail_at(place, text(error.what(), "\nGive head.", init.module, " the options of the network that was trained, or ",
                        "name other weights"));
  }
}

}  // namespace

std::vector<NamedModule> initial_modules(const Model& model, const Experiment& options) {
  std::vector<NamedModule> modules = model.modules;
  for (const InitOptions& init : options.init) {
    const auto index = find_module(modules, init) - modules.cbegin();
    if (init.freeze) modules[static_cast<std::size_t>(index)].is_trainable = false;
  }
  return modules;
}

void load_initial_weights(const Model& model, const LoadedExperiment& experiment, const fs::path& record) {
  const Experiment& options = experiment.options;
  const Value before = earlier_record(record);
  Value taken{Value::Table{}};
  for (std::size_t i = 0; i < options.init.size(); ++i) {
    const InitOptions& init = options.init[i];
    const auto module = find_module(model.modules, init);
    const Source source = source_of(init, before.find(init.module));
    const Pretrained weights = weights_in(source, init.module);
    refuse_nan(weights.file.tensors, init.from.string());
    check_network(weights, init.from.string(), experiment.resolved, init.module, *experiment.host);
    report_other_meaning(text("[[init]]: ", init.module, " was trained for other settings in ", init.from.string()),
                         weights.meaning, experiment.resolved, experiment.host->catalog());
    load_given(weights, *module, init, find_path(experiment.resolved, text("init.", i, ".from"))->location());
    if (const std::string name = first_infinite(state(*module->module)); !name.empty()) {
      std::cerr << "warning: [[init]]: " << init.from.string() << ": the tensor " << quoted(name)
                << " holds numbers that are infinite, or are in float32\n";
    }
    taken.set(init.module, record_of(init, source));
  }
  if (!record.empty() && !(taken == before)) write_file(record, to_json(taken, 1) + "\n");
}

std::vector<std::string> left_at_random(const Model& model, const Experiment& options) {
  std::vector<std::string> result;
  for (const NamedModule& module : model.modules) {
    const bool is_given = std::any_of(options.init.begin(), options.init.end(),
                                      [&](const InitOptions& init) { return init.module == module.name; });
    if (module.is_trainable || !module.average_of.empty() || is_given || module.module->parameters().empty()) continue;
    result.push_back(text("the head does not train module ", module.name,
                          ", and no [[init]] gives it weights: it keeps its initial ones, which are random unless "
                          "the head loads some. To start from a run: [[init]] module = ",
                          to_toml_value(Value(module.name)), ", from = \"RUN\""));
  }
  return result;
}

}  // namespace casdm
