#include "framework/training/resume.h"
#include "framework/training/pretrained.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/training/experiment_change.h"
#include "framework/training/learning_rate.h"
#include "framework/training/log_file.h"
#include "framework/training/network_check.h"
#include "framework/training/network_difference.h"
#include "framework/training/rewind.h"
#include "framework/training/run_config.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

// Keys of the log line of a resume.
constexpr const char* kOtherData = "other_data";
constexpr const char* kOtherNetworks = "other_networks";
constexpr const char* kOtherPlugins = "other_plugins";

/// The error about a checkpoint that does not fit, extended by what --set or config.toml have changed since.
std::string with_changes(const std::string& error, const std::vector<ExperimentChange>& changed,
                         const LoadedExperiment& now) {
  std::vector<std::string> lines;
  for (const ExperimentChange& change : changed) {
    const bool is_new = is_new_default(change, now.resolved, now.host->catalog());
    if (!is_new) lines.push_back("\n  " + to_string(change));
  }
  return lines.empty() ? error : text(error, "\nThe experiment has changed since the checkpoint:", join(lines, ""));
}

/// How the data differ from the checkpoint's; empty: they do not. If that is not allowed, throws ConfigError that names
/// the keys of [data] that have changed; Error if none has, so that the files differ.
std::string checked_data(const Checkpoint& checkpoint, const TrainingState& state, const LoadedExperiment& now,
                         std::vector<ExperimentChange> changed, bool allow_other_data) {
  const std::optional<DataFingerprint> before = data_of(checkpoint);
  if (!before) {
    std::cerr << "the checkpoint, of an earlier version, does not record its data, so they are not compared\n";
    return "";
  }
  if (before->labels.empty() && !state.data().labels.empty()) {
    std::cerr
        << "the checkpoint does not record the labels, so they are not compared: it was trained without them, or by an "
           "earlier version\n";
  }
  const std::string difference = casdm::difference(*before, state.data());
  if (difference.empty()) return "";
  const ComponentConfig& data = now.options.data.dataset;
  const std::string message = text(difference, ". They come from ", data.type, " ", to_json(data.table));
  if (!allow_other_data) {
    std::erase_if(changed, [](const ExperimentChange& change) { return !is_at_or_below(change.key, "data"); });
    const std::string refusal =
        text(message, ". Resume with the same data, or pass --allow-other-data to continue with these");
    const std::string of_keys = with_changes(refusal, changed, now);
    if (of_keys != refusal) throw ConfigError(of_keys);
    throw Error(refusal);
  }
  std::cerr << "warning: " << message << '\n';
  return difference;
}

/// Which metric networks differ from the checkpoint's; empty: none. Throws Error if that is not allowed.
std::string checked_networks(const Checkpoint& checkpoint, const TrainingState& state, const Value& config,
                             bool allow_other_data) {
  const Value* before = checkpoint.numbers().find(kNetworks);
  const Value unchanged = unchanged_networks(before != nullptr ? *before : Value(), checkpoint.config(), config);
  const std::string difference = difference_of_networks(unchanged, state.networks());
  if (difference.empty()) return "";
  const std::string message =
      text("the weights of ", difference, " are not those that the checkpoint was trained with");
  if (!allow_other_data) {
    throw Error(text(message, ": another file has taken the place of theirs. Put that one back, or pass ",
                     "--allow-other-data to go on with the new one"));
  }
  std::cerr << "warning: " << message << '\n';
  return message;
}

/// The learning rate for `module` after `images` in a resolved experiment.
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

/// @param module  empty: for [optimizer] itself
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

/// The width of each average of [[ema.also]], by name; null: it has none.
std::map<std::string, Value> widths_of(const Value& experiment) {
  std::map<std::string, Value> result;
  const Value* ema = experiment.find("ema");
  const Value* also = ema != nullptr ? ema->find("also") : nullptr;
  if (also == nullptr) return result;
  for (const Value& average : also->as_array()) {
    const Value* width = average.find("sigma_rel");
    result[average.find("name")->as_string()] = width != nullptr ? *width : Value();
  }
  return result;
}

/// Throws ConfigError if the width of an average changes: its sums were computed with the earlier one.
void check_widths(const Value& before, const Value& after) {
  const std::map<std::string, Value> earlier = widths_of(before);
  for (const auto& [name, width] : widths_of(after)) {
    const auto was = earlier.find(name);
    if (was == earlier.end() || width.is_null() || was->second == width) continue;
    throw ConfigError(text("ema.also: the average ", quoted(name), " has sigma_rel = ", to_toml_value(width),
                           was->second.is_null() ? ", and had none" : ", and had " + to_toml_value(was->second),
                           ": this cannot change at a resume, since it weighs the whole training. `casdm ema` makes "
                           "averages of other widths from snapshots of two"));
  }
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

/// Whether config.toml contains the experiment with which this run continued from `newest`. Another run's file does
/// not: it differs in keys that never change during a run.
bool went_on_with_config(const RunFolder& run, const Checkpoint& newest) {
  if (!is_run_config_intact(run.config())) return false;
  const std::vector<ExperimentChange> changed = changes(newest.config(), load_document(run.config()));
  return std::none_of(changed.begin(), changed.end(), [&](const auto& change) { return is_lasting(run, change); });
}

/// Build ids by plugin.
std::map<std::string, std::string> builds_of(const Value& config) {
  std::map<std::string, std::string> result;
  const Value* plugins = config.find("plugins");
  const Value* used = plugins != nullptr ? plugins->find("used") : nullptr;
  if (used == nullptr) return result;
  for (const Value& entry : used->as_array()) {
    const auto plugin = read_options<UsedPlugin>(entry);
    result[plugin.id] = plugin.build_id;
  }
  return result;
}

/// Whether training with `config` does the same as training with `before`.
bool is_same(const Value& before, const Value& config) {
  return changes(before, config).empty() && builds_of(before) == builds_of(config);
}

/// The value of `key` in the log line of the resume from this checkpoint.
std::string said_before(const RunFolder& run, const Checkpoint& checkpoint, const char* key) {
  const Value line = last_resume(run.log());
  const Value* images = line.find("images");
  const Value* said = line.find(key);
  const bool is_of_checkpoint =
      images != nullptr && images->is_integer() && images->as_integer() == checkpoint.images();
  return is_of_checkpoint && said != nullptr && said->is_string() ? said->as_string() : "";
}

/// Whether experiment, data and networks are the same as in the training that continued after the checkpoint before.
bool repeats(const RunFolder& run, const Checkpoint& checkpoint, const Value& config, const std::string& other_data,
             const std::string& other_networks) {
  const bool is_known = went_on_with_config(run, checkpoint);
  return is_same(is_known ? load_document(run.config()) : checkpoint.config(), config) &&
         other_data == said_before(run, checkpoint, kOtherData) &&
         other_networks == said_before(run, checkpoint, kOtherNetworks);
}

void restore(TrainingState& state, const Checkpoint& checkpoint, const std::vector<ExperimentChange>& changed,
             const LoadedExperiment& now) {
  try {
    state.restore(checkpoint);
  } catch (const ConfigError& error) {
    throw ConfigError(with_changes(error.what(), changed, now));
  }
}

/// Reports what has changed, and starts the line for metrics.jsonl.
Value resume_line(std::int64_t images, std::int64_t step, double seconds,
                  const std::vector<ExperimentChange>& changed) {
  for (const ExperimentChange& change : changed) {
    std::cerr << "changed at " << images << " images: " << to_string(change) << '\n';
  }
  Value line{Value::Table{}};
  line.set("resumed", true);
  line.set("images", images);
  line.set("step", step);
  line.set("seconds", seconds);
  line.set("changed", to_value(changed));
  return line;
}

/// Reports each learning rate that the changed experiment moves, and adds it to the line for metrics.jsonl.
void set_rates(Value& line, const Checkpoint& checkpoint, const Value& config, const TrainingState& state) {
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
    // A key that an experiment of an earlier version leaves out has its default.
    const bool is_missing_default =
        change.before.is_null() && !(change.after.is_array() && !change.after.as_array().empty());
    const std::string why = why_lasting(change.key, run.path().string(), has_checkpoint);
    if (why.empty() || is_missing_default) continue;
    throw ConfigError(text(to_string(change), ": this cannot change at a resume: ", why));
  }
  if (has_checkpoint) check_widths(before, after);
}

void start_over(const RunFolder& run, const LoadedExperiment& experiment, const Value& config) {
  const Value before = load_document(run.config());
  // If the log goes beyond the first checkpoint, there was one that somebody has moved, so the log is kept.
  const Experiment& options = experiment.options;
  const std::int64_t first = options.checkpoint.every_images + options.train.batch_size;
  const bool has_lost_checkpoint = end_of_lines(run.log(), first) != end_of_lines(run.log(), Checkpoint::kMostImages);
  const bool is_intact = is_run_config_intact(run.config());
  if (!is_intact && end_of_lines(run.log(), Checkpoint::kMostImages) > 0) {
    std::cerr << run.config().string() << " was changed after this program wrote it; its values are used\n";
  }
  rewind(run, 0, !has_lost_checkpoint && is_intact && is_same(before, config));
  const std::vector<ExperimentChange> changed = changes(before, config);
  if (!changed.empty()) run.append(resume_line(0, 0, 0, changed));
}

fs::path resume(const RunFolder& run, const Checkpoint& checkpoint, const LoadedExperiment& experiment,
                const Value& config, bool allow_other_data, TrainingState& state) {
  checkpoint.check_plugins(experiment.host->used());
  const std::vector<ExperimentChange> changed = changes(checkpoint.config(), config);
  const std::string difference = checked_data(checkpoint, state, experiment, changed, allow_other_data);
  const std::string other_networks = checked_networks(checkpoint, state, config, allow_other_data);
  std::vector<std::string> modules;
  for (const ModuleState& module : state.modules) modules.push_back(module.name());
  check_networks(checkpoint, config, modules, *experiment.host);
  restore(state, checkpoint, changed, experiment);

  const fs::path own = own_checkpoint(run, checkpoint);
  rewind(run, state.images(), repeats(run, checkpoint, config, difference, other_networks));
  Value line = resume_line(state.images(), state.step(), state.seconds(), changed);
  report_other_meaning(text("the networks were trained for other settings up to ", state.images(), " images"),
                       meaning_of(checkpoint.config()), config, experiment.host->catalog());
  if (!difference.empty()) line.set(kOtherData, difference);
  if (!other_networks.empty()) line.set(kOtherNetworks, other_networks);
  const std::vector<std::string> builds = checkpoint.other_builds(experiment.host->used());
  for (const std::string& build : builds)
    std::cerr << "warning: this run goes on with another build: " << build << '\n';
  if (!builds.empty()) line.set(kOtherPlugins, Value::Array(builds.begin(), builds.end()));
  const bool says_draws = checkpoint.numbers().find("draws") != nullptr;
  if (const std::int64_t draws = says_draws ? checkpoint.count("draws", kDrawVersion) : 1; draws != kDrawVersion) {
    std::cerr << "this run drew noise and dropout step by step, as version 0.1 did; from here on both are drawn by an "
                 "image's position in the run, so they differ from what it would have drawn\n";
    line.set("draws", from_to(draws, kDrawVersion));
  }
  set_rates(line, checkpoint, config, state);
  run.append(line);
  return own;
}

}  // namespace casdm
