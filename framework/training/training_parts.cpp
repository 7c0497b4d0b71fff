#include "framework/training/training_parts.h"

#include "framework/distributed/same_experiment.h"
#include "framework/training/fixed_networks.h"
#include "framework/training/initial_weights.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

SelectedDevice own_device(const RunOptions& run, World& world) {
  SelectedDevice device = select_device(run);
  require_own_device(world, device.device);
  const std::string exchange = world.use_device(device.device);
  if (!exchange.empty()) device.description += "; sums and weights are " + exchange;
  return device;
}

const Model& with_initial_weights(const Model& model, const LoadedExperiment& experiment, const RunFolder* new_run) {
  if (new_run != nullptr) load_initial_weights(model, experiment, new_run->init());
  return model;
}

}  // namespace

TrainingParts::TrainingParts(const LoadedExperiment& loaded, World& processes, const RunFolder* new_run)
    : experiment(loaded),
      options(loaded.options),
      world(processes),
      share(share_of_batch(options.train, world)),
      device(own_device(options.run, world)),
      threads(world.threads(options.run.threads)),
      dataset(make_dataset(experiment)),
      model(make_model(experiment, options.data.use_labels ? dataset->num_classes() : 0, dataset)),
      metrics(experiment, *model.schedule, device.device, world),
      state(experiment, with_initial_weights(model, experiment, new_run), *dataset, device.device, new_run != nullptr,
            world),
      step(
          experiment, model, metrics, state, device.device, [this] { return world.any(interrupted()); }, world) {
  state.keep_metrics([this] { return metrics.state(); });
  state.keep_networks(extractor_networks(experiment), [this] { return metric_networks(metrics); });
}

}  // namespace casdm
