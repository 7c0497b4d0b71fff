#include "framework/training/trainer.h"

#include "framework/data/batch_loader.h"
#include "framework/device/heap.h"
#include "framework/distributed/same_experiment.h"
#include "framework/training/effect.h"
#include "framework/training/resume.h"
#include "framework/training/run_records.h"
#include "framework/training/signals.h"
#include "framework/training/training_parts.h"

namespace casdm {

namespace {

/// @param run  null in all processes but the first
TrainingEnd train_in(World& world, const LoadedExperiment& experiment, RunFolder* run, std::optional<Checkpoint> start,
                     bool allow_other_data) {
  require_effect(experiment.resolved);
  keep_freed_memory();
  TrainingParts parts(experiment, world, start ? nullptr : run);
  TrainingState& state = parts.state;
  const Value config = with_used_plugins(experiment);
  require_same(world, config);
  if (world.size() > 1) require_same(world, state.data(), state.networks());
  RunRecords records(parts, config, run);
  records.begin(std::move(start), allow_other_data);
  state.follow_first(world);

  const Experiment& options = experiment.options;
  const BatchSlice slice{options.train.batch_size, parts.share.first, parts.share.count};
  BatchLoader loader(parts.dataset, options.data, slice, static_cast<std::uint64_t>(options.run.seed), state.images(),
                     [&](const std::string& line) { records.say(line); });
  try {
    records.catch_up();
    while (!state.is_complete() && !world.any(!loader.wait(interrupted))) {
      const std::optional<StepRecord> record = parts.step.run(loader.next());
      if (!record) break;  // interrupted between two parts of the batch
      records.update(*record);
    }
    loader.summarise();
    return records.finish();
  } catch (const NotFinite& failure) {
    records.fail(failure);
  } catch (const std::exception& failure) {
    records.save_after(failure);
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
