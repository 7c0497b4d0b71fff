#include "framework/training/trainer.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <vector>

#include "casdm/text.h"
#include "framework/data/batch_loader.h"
#include "framework/device/device.h"
#include "framework/device/heap.h"
#include "framework/device/threads.h"
#include "framework/distributed/batch_share.h"
#include "framework/distributed/same_experiment.h"
#include "framework/reporting/progress.h"
#include "framework/support/number_format.h"
#include "framework/training/effect.h"
#include "framework/training/initial_weights.h"
#include "framework/training/metric_terms.h"
#include "framework/training/resume.h"
#include "framework/training/run_config.h"
#include "framework/training/shared_drawing.h"
#include "framework/training/signals.h"
#include "framework/training/training_state.h"
#include "framework/training/training_step.h"
#include "framework/training/upkeep.h"

namespace casdm {

namespace {

/// "eps 0.0213 mu 0.004", for the progress line.
std::string means(const StepStatistics& statistics) {
  std::vector<std::string> parts;
  for (const std::string& term : statistics.terms()) {
    parts.push_back(text(term, " ", significant(statistics.mean(term))));
  }
  return join(parts, " ");
}

/// The images after the batch that completes the training.
std::int64_t end_of_last_batch(const TrainingState& state, std::int64_t batch_size) {
  const std::int64_t left = std::max<std::int64_t>(state.total_images() - state.images(), 0);
  return state.images() + (left + batch_size - 1) / batch_size * batch_size;
}

/// What to try after `steps` steps when a loss, a gradient or a weight is not finite.
std::string advice(const Experiment& options, std::int64_t steps) {
  std::vector<std::string> ideas;
  if (steps == 0) {
    ideas = {
        "No step has been taken: look at the noise schedule, the head's options, and what the data and [[init]] "
        "give"};
  } else {
    ideas = {"a smaller learning rate", "smaller weights of the terms"};
  }
  if (options.run.precision != Precision::fp32) ideas.emplace_back("run.precision = \"fp32\"");
  if (!options.metrics.empty()) ideas.emplace_back("a t_range of the metrics without the noisiest timesteps");
  return text(steps == 0 ? "" : "Try ", join(ideas, ", or "));
}

/// Takes over what the checkpoint kept, and lets go of it, or clears the way for a run that begins; writes the run's
/// config.toml. Returns the checkpoint's path; empty: none.
std::string begin(RunFolder& run, std::optional<Checkpoint>& start, const LoadedExperiment& experiment,
                  const Value& config, bool allow_other_data, TrainingState& state) {
  const std::string from = start ? start->path().string() : "";
  if (start) {
    resume(run, *start, experiment, config, allow_other_data, state);
  } else {
    start_over(run, experiment, config);
  }
  write_run_config(run.config(), config);
  start.reset();
  return from;
}

/// Each remark that is not empty, on a line of its own.
void say(Progress& progress, const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks) {
    if (!remark.empty()) progress.say(remark);
  }
}

std::vector<std::string> warnings_of(const Model& model, const Experiment& options, bool is_new) {
  std::vector<std::string> result = weak_settings(options);
  if (!is_new) return result;
  for (std::string& random : left_at_random(model, options)) result.push_back(std::move(random));
  return result;
}

/// What the user should know before the first step.
void introduce(Progress& progress, const Dataset& dataset, const std::string& device, const Model& model,
               const Experiment& options, bool is_new, const TrainingState& state, const World& world) {
  progress.say("data: " + describe(dataset));
  progress.say("device: " + device);
  if (world.size() > 1) {
    progress.say(text(world.size(), " processes, each with ", options.train.batch_size / world.size(), " of the ",
                      options.train.batch_size, " images of a batch"));
  }
  for (const std::string& warning : warnings_of(model, options, is_new)) progress.say("warning: " + warning);
  const auto is_trainable = [](const ModuleState& module) { return module.is_trainable(); };
  if (std::none_of(state.modules.begin(), state.modules.end(), is_trainable)) {
    progress.say("every module is frozen: the run measures, and trains nothing");
  }
}

/// A line of one process, by itself.
void say_apart(const std::string& line, const World& world) {
  std::fprintf(stderr, "%s\n", printable(line + world.whose(world.rank())).c_str());
}

/// @param run  null in all processes but the first
TrainingEnd train_in(World& world, const LoadedExperiment& experiment, RunFolder* run, std::optional<Checkpoint> start,
                     bool allow_other_data) {
  const Experiment& options = experiment.options;
  const BatchShare share = share_of_batch(options.train, world);
  require_effect(experiment.resolved);
  keep_freed_memory();
  const auto [device, device_name] = select_device(options.run);
  require_own_device(world, device);
  CpuThreads threads(world.threads(options.run.threads));
  const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
  const Model model = make_model(experiment, options.data.use_labels ? dataset->num_classes() : 0, dataset);
  ExperimentMetrics metrics(experiment, *model.schedule, device, world);
  const bool is_new = run != nullptr && !start;
  if (is_new) load_initial_weights(model, experiment, run->init());
  TrainingState state(experiment, model, *dataset, device, is_new, world);
  state.keep_metrics([&] { return metrics.state(); });
  const auto is_stopped = [&] { return world.any(interrupted()); };
  TrainingStep step(experiment, model, metrics, state, device, is_stopped, world);

  const Value config = with_used_plugins(experiment);
  require_same(world, config);
  // What the first process keeps of the training, and tells of it.
  SharedDrawing drawing(model, options, state, device, world);
  const auto keep = [&](const std::function<void()>& work) {
    world.on_first(work, [&](const std::string& request) { drawing.help(request); });
  };
  std::optional<Progress> progress;
  std::optional<TrainingEvaluation> evaluation;
  std::optional<Upkeep> upkeep;
  world.on_first([&] {
    const std::string from = begin(*run, start, experiment, config, allow_other_data, state);
    progress.emplace("training", end_of_last_batch(state, options.train.batch_size), "images", state.images());
    introduce(*progress, *dataset, text(device_name, "; ", threads.describe()), model, options, from.empty(), state,
              world);
    evaluation.emplace(*run, experiment, model, dataset, state, device, drawing);
    upkeep.emplace(*run, experiment, config, state, device, from, drawing, *evaluation, *progress);
  });
  state.follow_first(world);
  BatchLoader loader(dataset, options.data, {options.train.batch_size, share.first, share.count},
                     static_cast<std::uint64_t>(options.run.seed), state.images(),
                     [&](const std::string& line) { progress ? progress->say(line) : say_apart(line, world); });
  try {
    keep([&] { upkeep->catch_up(); });
    while (!state.is_complete() && !world.any(!loader.wait(interrupted))) {
      const std::optional<StepRecord> record = step.run(loader.next());
      if (!record) break;
      const std::vector<std::string> remarks{step.remark(), metrics.remark(), threads.update()};
      if (progress) {
        progress->update(state.images(), means(state.statistics));
        say(*progress, remarks);
      }
      if (is_upkeep_due(experiment, state)) keep([&] { upkeep->run(*record); });
    }
    loader.summarise();
    TrainingEnd end{state.images(), state.is_complete()};
    world.on_first([&] { end.is_complete = upkeep->finish(); });
    return end;
  } catch (const NotFinite& failure) {
    if (!upkeep) throw ProcessLost(failure.what(), /*is_told=*/true);  // the first has found the same
    const std::string message = text(failure.what(), "; ", upkeep->last_good(), ". ", advice(options, state.step()));
    if (world.size() > 1) throw ProcessLost(message, /*is_told=*/false);  // which says whose image it was
    throw NotFinite(message);
  } catch (const std::exception& failure) {
    if (upkeep) upkeep->save_after(failure);
    throw;
  }
}

}  // namespace

TrainingEnd train(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start,
                  bool allow_other_data, World& world) {
  return train_in(world, experiment, &run, std::move(start), allow_other_data);
}

TrainingEnd train_along(const LoadedExperiment& experiment, World& world) {
  return train_in(world, experiment, nullptr, std::nullopt, false);
}

}  // namespace casdm
