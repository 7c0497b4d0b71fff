#include "framework/training/resume.h"

#include <algorithm>
#include <iostream>
#include <optional>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/training/experiment_change.h"
#include "framework/training/learning_rate.h"
#include "framework/training/rewind.h"
#include "framework/training/run_config.h"

namespace casdm {

namespace {

void check_data(const Checkpoint& checkpoint, const TrainingState& state, const ComponentConfig& data,
                bool allow_other_data) {
  const std::optional<DataFingerprint> before = data_of(checkpoint);
  if (!before) {
    std::cerr << "the checkpoint, of an earlier version, does not say what its data were: they are not compared\n";
    return;
  }
  if (before->labels.empty() && !state.data().labels.empty()) {
    std::cerr << "the checkpoint, of an earlier version, does not say what the labels were: they are not compared\n";
  }
  const std::string found = difference(*before, state.data());
  if (found.empty()) return;
  const std::string message = text(found, ". They come from ", data.type, " ", to_json(data.table));
  if (!allow_other_data) {
    throw Error(text(message, ". Resume with the same data, or pass --allow-other-data to go on with these"));
  }
  std::cerr << "warning: " << message << '\n';
}

/// The learning rate that a resolved experiment has for `module` after `images`.
double rate_of(const Value& config, const std::string& module, std::int64_t images) {
  const auto optimizer = config.find("optimizer");
  const auto training = config.find("train");
  if (optimizer == nullptr || training == nullptr) throw Error("the checkpoint's experiment has no learning rate");
  return learning_rate(read_options<OptimizerOptions>(*optimizer).of(module), images,
                       read_options<TrainOptions>(*training).total_images);
}

struct Rates {
  double before;
  double now;
  bool operator==(const Rates&) const = default;
};

/// @param module  empty: of [optimizer] itself
Rates rates_of(const std::string& module, const Value& before, const Value& now, std::int64_t images) {
  return {rate_of(before, module, images), rate_of(now, module, images)};
}

/// Why a key cannot change at a resume, and what to do; empty: it can.
std::string why_lasting(const std::string& key, const std::string& run, bool has_checkpoint) {
  const std::string start_anew =
      text("start a new run from its weights: `casdm train CONFIG` with [[init]] from = ", to_toml_value(run));
  if (key == "run.name" || key == "run.directory") {
    return text("a run is resumed where it is, in ", run, "; copy or move that folder and resume it there, or ",
                start_anew);
  }
  if (!has_checkpoint) return "";
  if (key == "run.seed") {
    return text("the order of the images and all noise follow from it, from the first step on; ", start_anew);
  }
  if (key == "init" || key.starts_with("init[")) {
    return text("weights are taken over, and modules frozen, when a run starts; ", start_anew);
  }
  return "";
}

Value from_to(const Value& before, const Value& after) {
  Value result{Value::Table{}};
  result.set("from", before);
  result.set("to", after);
  return result;
}

bool is_lasting(const RunFolder& run, const ExperimentChange& change) {
  return !why_lasting(change.key, run.path().string(), /*has_checkpoint=*/true).empty();
}

/// Whether config.toml holds the experiment with which this run went on from `newest`.
bool went_on_with_config(const RunFolder& run, const Checkpoint& newest) {
  if (is_run_config_since(run.config(), newest.sha256())) return true;
  if (!is_run_config_of_any(run.config())) return false;
  const std::vector<ExperimentChange> changed = changes(newest.config(), load_document(run.config()));
  return std::none_of(changed.begin(), changed.end(), [&](const auto& change) { return is_lasting(run, change); });
}

/// Whether this is the experiment of the training that went on after the checkpoint.
bool repeats(const RunFolder& run, const Checkpoint& checkpoint, const Value& config) {
  const bool is_known = went_on_with_config(run, checkpoint);
  return changes(is_known ? load_document(run.config()) : checkpoint.config(), config).empty();
}

}  // namespace

Value with_used_plugins(const LoadedExperiment& experiment) {
  Value config = experiment.resolved;
  Value plugins = config.find("plugins") == nullptr ? Value(Value::Table{}) : *config.find("plugins");
  Value::Array used;
  for (const UsedPlugin& plugin : experiment.host->used()) used.push_back(write_options(plugin));
  plugins.set("used", std::move(used));
  config.set("plugins", std::move(plugins));
  return config;
}

Value experiment_to_resume(const RunFolder& run, const Checkpoint& checkpoint, bool is_newest) {
  const std::string file = run.config().string();
  std::vector<std::string> lines;
  try {
    if (is_newest && went_on_with_config(run, checkpoint)) return load_document(file);
    Value document = load_document(file);
    for (const ExperimentChange& change : changes(checkpoint.config(), document)) {
      lines.push_back("\n  " + to_string(change));
    }
    if (is_newest && lines.empty()) return document;
  } catch (const Error& error) {
    lines.push_back(text(" it cannot be read: ", error.what()));
  }
  if (!lines.empty()) {
    std::cerr << "the checkpoint's experiment is used. " << file << " differs:" << join(lines, "")
              << "\nTo change a key at a resume: --set KEY=VALUE\n";
  }
  return checkpoint.config();
}

void check_lasting_keys(const RunFolder& run, const Value& before, const Value& after, bool has_checkpoint) {
  for (const ExperimentChange& change : changes(before, after)) {
    // What an experiment of an earlier version leaves out has its default.
    const bool is_missing_default =
        change.before.is_null() && !(change.after.is_array() && !change.after.as_array().empty());
    const std::string why = why_lasting(change.key, run.path().string(), has_checkpoint);
    if (why.empty() || is_missing_default) continue;
    throw ConfigError(text(to_string(change), ": this cannot change at a resume: ", why));
  }
}

void resume(const RunFolder& run, const Checkpoint& checkpoint, const LoadedExperiment& experiment, const Value& config,
            bool allow_other_data, TrainingState& state) {
  checkpoint.check_plugins(experiment.host->used());
  check_data(checkpoint, state, experiment.options.data.dataset, allow_other_data);
  state.restore(checkpoint);

  rewind(run, state.images(), repeats(run, checkpoint, config));
  const std::vector<ExperimentChange> changed = changes(checkpoint.config(), config);
  for (const ExperimentChange& change : changed)
    std::cerr << "changed at " << state.images() << " images: " << to_string(change) << '\n';
  Value line{Value::Table{}};
  line.set("resumed", true);
  line.set("images", state.images());
  line.set("step", state.step());
  line.set("seconds", state.seconds());
  line.set("changed", to_value(changed));
  const bool says_draws = checkpoint.numbers().find("draws") != nullptr;
  if (const std::int64_t draws = says_draws ? checkpoint.count("draws", kDrawVersion) : 1; draws != kDrawVersion) {
    std::cerr << "this run drew noise and dropout step by step, as version 0.1 did; from here on both are drawn by an "
                 "image's position in the run, so they differ from what it would have drawn\n";
    line.set("draws", from_to(draws, kDrawVersion));
  }
  const Rates all = rates_of("", checkpoint.config(), config, state.images());
  if (all.before != all.now) {
    std::cerr << "the learning rate goes from " << number(all.before) << " to " << number(all.now) << '\n';
    line.set("learning_rate", from_to(all.before, all.now));
  }
  Value rates{Value::Table{}};
  for (const ModuleState& module : state.modules) {
    const Rates own = rates_of(module.name(), checkpoint.config(), config, state.images());
    if (own.before == own.now || own == all) continue;
    std::cerr << "the learning rate of " << module.name() << " goes from " << number(own.before) << " to "
              << number(own.now) << '\n';
    rates.set(module.name(), from_to(own.before, own.now));
  }
  if (!rates.as_table().empty()) line.set("learning_rates", std::move(rates));
  run.append(line);
}

}  // namespace casdm
