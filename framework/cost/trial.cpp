#include "framework/cost/trial.h"

#include <ATen/ATen.h>

#include <chrono>
#include <utility>

#include "casdm/error.h"
#include "framework/config/evaluate_options.h"
#include "framework/data/batch_loader.h"
#include "framework/device/heap.h"
#include "framework/support/component_name.h"
#include "framework/support/silence.h"
#include "framework/training/shared_drawing.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

/// The experiment in the middle of its training, where each metric has its whole weight.
LoadedExperiment warmed_up(LoadedExperiment experiment) {
  for (MetricOptions& metric : experiment.options.metrics) metric.warmup_images = metric.until_images = 0;
  experiment.options.log.grad_norms_every_images = 0;
  experiment.options.data.cache = CacheMode::never;
  experiment.options.train.cuda_graph = GraphMode::off;
  return experiment;
}

LoadedExperiment with(LoadedExperiment experiment, std::int64_t batch, Precision precision) {
  experiment.options.train.batch_size = batch;
  experiment.options.train.accumulate = 1;
  experiment.options.run.precision = precision;
  return experiment;
}

std::unique_ptr<TrainingParts> made(const LoadedExperiment& experiment) {
  const Silence silence;
  return std::make_unique<TrainingParts>(experiment, World::alone(), nullptr);
}

/// Whether the component is `other`, or one of those inside it.
bool is_within(const ComponentConfig& component, const ComponentConfig& other) {
  const std::string& key = component.table.location().key;
  const std::string& own = other.table.location().key;
  return !own.empty() && (key == own || key.starts_with(own + "."));
}

/// The part of a component by its place in the experiment file. Of the head and its networks, the weights tell.
std::string part_of(const ComponentConfig& component, const ComponentConfig& head,
                    const std::vector<MetricOptions>& metrics) {
  if (&component == &head || is_within(component, head)) return "";
  const std::string& key = component.table.location().key;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    if (!is_within(component, metrics[i].metric)) continue;
    return "metric." + (metrics[i].name.empty() ? component_name(metrics[i].metric.type) : metrics[i].name);
  }
  return key.empty() ? component_name(component.type) : key;
}

UsageMeter::Owners owners_of(const std::vector<ModuleState>& modules) {
  UsageMeter::Owners owners;
  for (const ModuleState& module : modules) {
    for (const auto& [name, tensor] : module.weights()) owners.emplace(tensor.storage().data(), module.name());
  }
  return owners;
}

}  // namespace

/// The step of one batch size, and its images.
struct Trial::Steps {
  Steps(LoadedExperiment own, TrainingParts& parts)
      : experiment(std::move(own)),
        step(experiment, parts.model, parts.metrics, parts.state, parts.device.device, interrupted),
        images(BatchLoader(parts.dataset, experiment.options.data, experiment.options.train.batch_size,
                           static_cast<std::uint64_t>(experiment.options.run.seed), 0, {})
                   .next()) {}

  /// As in a training, where a step begins while the numbers of the one before may not be read yet.
  void take() {
    if (interrupted() || !step.run(images)) throw Error("interrupted while measuring the cost of a step");
    images.first_position += images.images.size(0);  // other timesteps and noise in the next step
  }

  void run() {
    take();
    step.settle();
  }

  LoadedExperiment experiment;
  TrainingStep step;
  ImageBatch images;
};

Trial::Trial(const LoadedExperiment& experiment) : experiment_(warmed_up(experiment)) {
  keep_freed_memory();
  parts_ = made(experiment_);
}

Trial::~Trial() = default;

Trial::Steps& Trial::steps_of(std::int64_t batch, Precision precision) {
  std::unique_ptr<Steps>& steps = steps_[{batch, precision}];
  if (!steps) steps = std::make_unique<Steps>(with(experiment_, batch, precision), *parts_);
  return *steps;
}

void Trial::try_sampling() const {
  const bool draws = parts_->options.log.sample_count > 0 || evaluate_options(experiment_.resolved).every_images > 0;
  if (!draws) return;
  SharedDrawing(parts_->model, parts_->options, parts_->state, parts_->device.device, parts_->world).try_first_step();
}

double Trial::step(std::int64_t batch, Precision precision) {
  Steps& steps = steps_of(batch, precision);
  const auto start = std::chrono::steady_clock::now();
  steps.run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Trial::Usage Trial::metered_step(std::int64_t batch, Precision precision) {
  Steps& steps = steps_of(batch, precision);
  const ComponentConfig& head = parts_->model.head.config();
  const auto name_of = [&](const ComponentConfig& component) {
    return part_of(component, head, experiment_.options.metrics);
  };
  const Silence silence;  // LibTorch logs that memory is freed which was allocated before the meter
  if (!parts_->device.device.is_cpu()) steps.take();  // its images stay in memory during the next step
  const UsageMeter meter(owners_of(parts_->state.modules), name_of, kHostPart);
  steps.take();
  const Usage usage{meter.parts(), meter.peak_bytes()};
  steps.step.settle();
  return usage;
}

}  // namespace casdm
