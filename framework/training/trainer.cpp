#include "framework/training/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/data/batch_loader.h"
#include "framework/device/device.h"
#include "framework/interchange/recorded_options.h"
#include "framework/loading/plugin_call.h"
#include "framework/reporting/progress.h"
#include "framework/sampling/training_grid.h"
#include "framework/training/batch_draws.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/loss_scaler.h"
#include "framework/training/metric_terms.h"
#include "framework/training/rewind.h"
#include "framework/training/signals.h"
#include "framework/training/step_record.h"

namespace casdm {

namespace {

double learning_rate(const OptimizerOptions& options, std::int64_t images, std::int64_t total) {
  const auto warmup = static_cast<double>(options.warmup_images);
  const auto seen = static_cast<double>(images);
  if (seen < warmup) return options.learning_rate * seen / warmup;
  const double part = std::clamp((seen - warmup) / std::max(1.0, static_cast<double>(total) - warmup), 0.0, 1.0);
  if (options.schedule == "linear") return options.learning_rate * (1 - part);
  if (options.schedule == "cosine") return options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * part));
  return options.learning_rate;
}

/// Images start..start+length-1 of a batch.
TrainingBatch narrowed(const TrainingBatch& batch, std::int64_t start, std::int64_t length,
                       std::function<at::Generator(std::string_view)> dropout) {
  const auto part = [&](const Tensor& tensor) { return tensor.defined() ? tensor.narrow(0, start, length) : tensor; };
  return {part(batch.x0),     part(batch.eps),     part(batch.x_t),   part(batch.t),
          part(batch.labels), part(batch.augment), std::move(dropout)};
}

/// Sum of weight * mean(image_weight * value), each term scaled for the module it trains; undefined when no term
/// has a gradient.
/// @param image_weight  [B] of the part; undefined: 1 each
Tensor objective(const Losses& losses, const Tensor& image_weight, std::int64_t batch_size, const LossScaler& scaler) {
  Tensor total;
  for (const LossTerm& term : losses.terms) {
    if (!term.value.requires_grad() || term.weight == 0) continue;
    const Tensor value = image_weight.defined() ? term.value * image_weight.to(term.value.scalar_type()) : term.value;
    const Tensor part = value.sum() * (term.weight * scaler.scale(term.module) / static_cast<double>(batch_size));
    total = total.defined() ? total + part : part;
  }
  return total;
}

/// What each module's gradients are multiplied by: unscaling and clipping.
std::vector<Tensor> gradient_factors(const std::vector<Tensor>& norms, const OptimizerOptions& options) {
  std::vector<Tensor> limits = norms;
  if (options.grouping == "joint") {
    const Tensor joint = at::stack(norms).norm();
    limits.assign(norms.size(), joint);
  }
  std::vector<Tensor> factors;
  for (const Tensor& norm : limits) {
    factors.push_back(options.clip_norm > 0 ? (options.clip_norm / (norm + 1e-6)).clamp_max(1.0) : at::ones_like(norm));
  }
  return factors;
}

NamedModule& module_of(std::vector<NamedModule>& modules, const InitOptions& init) {
  const auto found =
      std::find_if(modules.begin(), modules.end(), [&](const NamedModule& m) { return m.name == init.module; });
  if (found == modules.end()) throw ConfigError(text("init: the head has no module '", init.module, "'"));
  return *found;
}

/// Loads the weights that a new run starts from.
/// @param head  its table in the experiment, where each module has one of its own
void initialise(std::vector<NamedModule>& modules, const std::vector<InitOptions>& starts, const Value& head) {
  for (const InitOptions& start : starts) {
    const TensorFile weights = pretrained(start.from, start.module);
    if (const Value* table = head.find(start.module)) {
      check_recorded_options(weights.metadata, *table, start.from.string(), "head." + start.module);
    }
    load_state(*module_of(modules, start).module, weights.tensors, start.from.string());
  }
}

void freeze(std::vector<NamedModule>& modules, const std::vector<InitOptions>& starts) {
  for (const InitOptions& start : starts) {
    NamedModule& module = module_of(modules, start);
    if (start.freeze) module.is_trainable = false;
  }
}

void check_weights(const std::vector<ModuleState>& modules, std::int64_t step, const std::string& last_checkpoint) {
  for (const ModuleState& module : modules) {
    if (module.has_finite_weights()) continue;
    throw Error(text("step ", step, ": the weights of module ", module.name(),
                     " are not finite; no checkpoint of them was saved. ", last_checkpoint,
                     ". Try a smaller learning rate"));
  }
}

std::string average_name(const AverageRule& rule) {
  return rule.name() == "ema" ? rule.name() : text("ema-", rule.name());
}

/// The tensors of a checkpoint; handles to them.
/// @param timesteps  the timestep sampler's buffers
std::map<std::string, NamedTensors> tensors_of(const std::vector<ModuleState>& modules, const NamedTensors& timesteps) {
  std::map<std::string, NamedTensors> result;
  result["weights"] = prefixed(modules, [](const ModuleState& module) { return module.weights(); });
  result["optimizer"] = prefixed(modules, [](const ModuleState& module) { return module.moments(); });
  const std::vector<AverageRule>& rules = modules.front().rules();
  for (std::size_t i = 0; i < rules.size(); ++i) result[average_name(rules[i])] = average_of(modules, i);
  if (!timesteps.empty()) result["timesteps"] = timesteps;
  return result;
}

/// Restores everything that training needs; all or nothing a file.
void restore(const Checkpoint& checkpoint, const std::map<std::string, NamedTensors>& state) {
  const std::string path = checkpoint.path().string();
  if (checkpoint.has("timesteps") != state.contains("timesteps")) {
    throw Error(text("checkpoint ", path, checkpoint.has("timesteps") ? " holds" : " holds no",
                     " state of a timestep sampler, and the one of this experiment has ",
                     state.contains("timesteps") ? "some" : "none",
                     "; resume with the `timesteps` that made the checkpoint"));
  }
  for (const auto& [name, handles] : state) {
    if (!checkpoint.has(name) && name.starts_with("ema-")) {
      throw Error(text("checkpoint ", path, " has no ", name, ".safetensors: the average is not as old as the run; ",
                       "leave it out of [[ema.also]], or train a new run"));
    }
    copy_into(handles, checkpoint.tensors(name), checkpoint.file(name).string());
  }
}

}  // namespace

TrainingEnd train(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start) {
  const Experiment& options = experiment.options;
  const auto seed = static_cast<std::uint64_t>(options.run.seed);
  const std::int64_t batch_size = options.train.batch_size;
  const std::int64_t total = options.train.total_images;
  if (batch_size % options.train.accumulate != 0) {
    throw ConfigError(
        text("train.accumulate = ", options.train.accumulate, " does not divide train.batch_size = ", batch_size));
  }

  // Device, data, networks, metrics.
  const c10::Device device = select_device(options.run.device);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
  const std::int64_t num_classes = options.data.use_labels ? dataset->num_classes() : 0;
  const Model model = make_model(experiment, num_classes);
  const std::int64_t T = model.schedule->num_train_timesteps();
  ExperimentMetrics metrics(experiment, *model.schedule, device);
  BatchDraws draws(experiment, model, device);
  std::vector<NamedModule> named = model.head->modules();
  freeze(named, options.init);
  if (!start) initialise(named, options.init, options.head.table);
  std::vector<ModuleState> modules;
  for (const NamedModule& module : named) modules.emplace_back(module, options.optimizer, options.ema, device);
  LossScaler scaler(named, options.run.precision,
                    model.head->gradients_are_separate() && options.optimizer.grouping == "module");

  // Where we are.
  Progression now;
  now.num_classes = num_classes;
  if (start) {
    start->check_plugins(experiment.host->used());
    now = Progression::of(*start);
    restore(*start, tensors_of(modules, draws.state()));
    scaler.restore(now.loss_scales);
  }
  rewind(run, now.images, !start || start->config() == experiment.resolved);
  Progress progress("training", total, "images", now.images);
  progress.say("data: " + describe(*dataset));
  BatchLoader loader(dataset, options.data, batch_size, seed, now.images,
                     [&](const std::string& line) { progress.say(line); });
  StepStatistics statistics(T);
  const std::vector<UsedPlugin> plugins = experiment.host->used();
  std::int64_t saved_at = start ? now.images : -1;
  std::string last_checkpoint =
      start ? "The last good checkpoint is " + start->path().string() : "The run has no checkpoint yet";
  start.reset();
  const auto save = [&] {
    check_weights(modules, now.step, last_checkpoint);
    now.loss_scales = scaler.state();
    const std::filesystem::path saved =
        Checkpoint::save(run, {now.numbers(), tensors_of(modules, draws.state()), experiment.resolved, plugins});
    last_checkpoint = "The last good checkpoint is " + saved.string();
    saved_at = now.images;
    Checkpoint::remove_old(run, saved, options.checkpoint.keep_last,
                           [&](const std::string& line) { progress.say("warning: " + line); });
  };
  const auto draw_samples = [&] {
    if (options.log.sample_count == 0) return;
    for (ModuleState& module : modules) module.swap_ema();
    draw_training_grid(model, experiment, num_classes, device, now.images, run.samples() / text(now.images, ".png"));
    for (ModuleState& module : modules) module.swap_ema();
  };
  const auto crossed = [&](std::int64_t interval) {
    return interval > 0 && now.images / interval > (now.images - batch_size) / interval;
  };

  while (now.images < total && !interrupted()) {
    // A batch at random timesteps; every draw is a function of (seed, step or position, purpose).
    const ImageBatch images = loader.next();
    StepRecord record;
    record.step = now.step + 1;
    DrawnBatch drawn = draws.draw(images, record.step);
    TrainingBatch& batch = drawn.batch;
    record.t = drawn.t;
    if (num_classes > 0) batch.labels = images.labels.to(device);

    // The head's losses and their gradients, part by part.
    for (ModuleState& module : modules) module.zero_grad();
    for (const NamedModule& module : named) module.module->train(true);
    metrics.set_images(now.images);
    const std::int64_t part_size = batch_size / options.train.accumulate;
    for (std::int64_t part = 0; part < options.train.accumulate; ++part) {
      const auto draw = static_cast<std::uint64_t>(now.step * options.train.accumulate + part);
      const TrainingBatch piece = narrowed(batch, part * part_size, part_size, [&](std::string_view module) {
        return make_generator(derive_seed(seed, text("dropout/", module), draw), device);
      });
      Losses losses;
      {
        const Autocast autocast(device, options.run.precision);
        losses = call_plugin(options.head, [&] { return model.head->losses(piece, metrics); });
      }
      record.add_part(losses);
      const Tensor image_weight =
          drawn.weight.defined() ? drawn.weight.narrow(0, part * part_size, part_size) : Tensor();
      const Tensor loss = objective(losses, image_weight, batch_size, scaler);
      if (loss.defined()) loss.backward();
    }

    // Gradient norms, clipping, a finite check before anything changes.
    std::vector<Tensor> norms;
    for (ModuleState& module : modules) {
      norms.push_back(module.grad_norm() / scaler.scale(module.name()));
      record.modules.push_back(module.name());
    }
    record.grad_norms = at::stack(norms);
    record.fetch();
    record.check_finite(!scaler.is_active());
    statistics.add(record);
    if (const std::string remark = metrics.remark(); !remark.empty()) progress.say(remark);
    draws.observe(record);

    // One optimiser and one average a module.
    const std::vector<Tensor> factors = gradient_factors(norms, options.optimizer);
    const double rate = learning_rate(options.optimizer, now.images + batch_size, total);
    scaler.observe(record);
    for (std::size_t i = 0; i < modules.size(); ++i) {
      if (!scaler.has_overflowed(modules[i].name())) {
        modules[i].optimizer_step(rate, factors[i] / scaler.scale(modules[i].name()));
      }
      modules[i].update_averages({record.step, now.images + batch_size, batch_size});
    }
    scaler.update();
    now.step += 1;
    now.images += batch_size;

    // Records.
    std::string note;
    for (const std::string& term : statistics.terms())
      note += text(note.empty() ? "" : " ", term, " ", significant(statistics.mean(term)));
    progress.update(std::min(now.images, total), note);
    if (crossed(options.log.every_images) || now.images >= total) {
      Value line{Value::Table{}};
      line.set("images", now.images);
      line.set("step", now.step);
      line.set("learning_rate", rate);
      line.set("images_per_second", progress.rate());
      const Value sums = statistics.json();
      for (const auto& [key, value] : sums.as_table()) line.set(key, value);
      run.append(line);
      statistics.clear();
    }
    if (crossed(options.log.sample_every_images) && now.images < total) draw_samples();
    if (crossed(options.ema.snapshot_every_images) && now.images < total) save_ema_snapshots(run, modules, now.images);
    if (crossed(options.checkpoint.every_images) && now.images < total) save();
  }

  loader.summarise();
  const bool is_complete = now.images >= total;
  if (is_complete && options.ema.snapshot_every_images > 0) save_ema_snapshots(run, modules, now.images);
  if (saved_at != now.images) save();
  if (is_complete) draw_samples();
  return {now, is_complete};
}

}  // namespace casdm
