#include "framework/config/experiment.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/evaluate_options.h"
#include "framework/config/merge.h"
#include "framework/config/named_tables.h"
#include "framework/config/tensorboard_option.h"
#include "framework/training/power_function.h"

namespace casdm {

namespace {

/// With its last batch, a training must stay within the twelve digits of a checkpoint's name.
constexpr std::int64_t kMostTrainingImages = 999'000'000'000;

}  // namespace

void RunOptions::describe(Schema<RunOptions>& s) {
  s.option("name", &RunOptions::name, "Name of the run, and of its folder in `directory`.").file_name();
  s.option("seed", &RunOptions::seed,
           "Every draw of the run is a function of this, the image's position in the run and the draw's purpose.")
      .at_least(0);
  s.option("device", &RunOptions::device,
           "Where to compute: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if a device is present, else the CPU.")
      .matching("auto|cpu|cuda(:[0-9]+)?");
  s.option("precision", &RunOptions::precision,
           "Arithmetic of the networks; weights, losses and the diffusion's own algebra stay in fp32. `auto`: fp32 or "
           "bf16, whichever is faster on this machine, measured once and recorded in the run.");
  s.option("deterministic", &RunOptions::deterministic,
           "On CUDA, use kernels that give the same bits each time; false uses the fastest.");
  s.option("threads", &RunOptions::threads,
           "Threads of one CPU operation; 0: one per CPU that other processes leave free.")
      .range(0, 1024);
  s.option("directory", &RunOptions::directory,
           "Folder that holds the run folders; relative to the working directory.");
}

void DataOptions::describe(Schema<DataOptions>& s) {
  s.flatten_component(&DataOptions::dataset, "dataset");
  s.option("image_size", &DataOptions::image_size, "Images are cropped to their central square and resized to this.")
      .range(1, 4096)
      .in_unit("px");
  s.option("channels", &DataOptions::channels, "3 for RGB, 1 for grey.").choices({1, 3});
  s.option("random_flip", &DataOptions::random_flip, "Mirror each image left to right with probability 1/2.");
  s.option("workers", &DataOptions::workers, "Threads that decode images ahead of training.").range(1, 256);
  s.option("cache", &DataOptions::cache, "Keep decoded images in memory; `auto`: when they take less than 1 GiB.");
  s.option("skip_unreadable", &DataOptions::skip_unreadable,
           "Replace an image that cannot be decoded by the next one (named in the log) instead of stopping.");
  s.option("use_labels", &DataOptions::use_labels, "Condition the networks on the data set's class labels.");
  s.option("label_dropout", &DataOptions::label_dropout,
           "Probability that an image's label is replaced by one more class, \"no label\", which guidance needs.")
      .range(0, 1);
}

void MetricOptions::describe(Schema<MetricOptions>& s) {
  s.flatten_component(&MetricOptions::metric, "metric_loss");
  s.option("name", &MetricOptions::name, "Name in logs (`metric.<name>`); empty: the component's name.");
  s.option("weight", &MetricOptions::weight, "Factor of the metric in the objective.").at_least(0);
  s.option("t_range", &MetricOptions::t_range,
           "Part of the diffusion the metric acts on, as fractions of T: [0, 0.7] leaves out the last 30 % of the "
           "timesteps. Another schedule has another noise there; noise_range does not depend on it.")
      .range(0, 1);
  OptionSpec& noise = s.option("noise_range", &MetricOptions::noise_range,
                               "Noise that the metric acts on, in noise_unit; where t_range is given, both hold.");
  noise.element.front().may_be_infinite();
  s.option(
      "noise_unit", &MetricOptions::noise_unit,
      "Unit of noise_range, which needs it. `flow_time`: sigma / (alpha + sigma), 0 the image, 1 noise, the time of "
      "a rectified flow of the same signal-to-noise ratio; `log_snr`: log(alpha^2 / sigma^2), falling with the "
      "noise; `t_fraction`: fractions of T, as t_range.");
  s.option(
      "t_weight", &MetricOptions::t_weight,
      "Weight by timestep: `uniform`, or `alpha_bar`, the signal's part of the variance, A_t (fades with the noise).");
  s.option("mean", &MetricOptions::mean,
           "`batch`: images that the metric does not act on count as 0 in the objective, so that a narrow range weighs "
           "little; `active`: the mean over those it acts on.");
  s.option("warmup_images", &MetricOptions::warmup_images, "The weight rises linearly from 0 over this many images.")
      .at_least(0)
      .in_unit("images");
  s.option("until_images", &MetricOptions::until_images,
           "The metric ends after this many images and is then neither computed nor recorded; 0: never.")
      .at_least(0)
      .in_unit("images");
  s.option("every", &MetricOptions::every, "Compute the metric only every nth step, with n times its weight.")
      .range(1, 1 << 20)
      .in_unit("steps");
  s.option("share", &MetricOptions::share,
           "Fraction of the images, drawn at random, that the metric is computed for. They count for all.")
      .greater_than(0)
      .maximum = 1;
  s.option("normalise", &MetricOptions::normalise,
           "`self`: each image's gradient is divided by (distance + 0.001)^normalise_power, so that large distances do "
           "not outweigh small ones. Records keep the distance.");
  s.option("normalise_power", &MetricOptions::normalise_power, "Power of normalise = \"self\"; 0: as `none`.")
      .range(0, 2)
      .only_with("normalise", {"self"});
  s.option(
      "balance", &MetricOptions::balance,
      "`squared_error`: each image's gradient at the prediction is made as long as that of the mean squared error, "
      "so that `weight` is their ratio. Costs one more backward pass through the metric.");
  s.option("crop", &MetricOptions::crop,
           "Crop both images to this size at the same random place, before anything else; 0: no crop.")
      .range(0, 4096)
      .in_unit("px");
  s.option("resize", &MetricOptions::resize, "Resize both images bilinearly to this before the metric; 0: no resize.")
      .range(0, 4096)
      .in_unit("px");
  s.option("input_range", &MetricOptions::input_range, "Range that [-1, 1] is mapped to before the metric.");
  s.option(
      "precision", &MetricOptions::precision,
      "Arithmetic of the metric, whatever run.precision is: `bf16` computes its convolutions and matrix products in "
      "half precision (autocast), for metrics that are networks.");
}

void TrainOptions::describe(Schema<TrainOptions>& s) {
  s.option("batch_size", &TrainOptions::batch_size, "Images of one optimiser step.")
      .range(1, 1 << 20)
      .in_unit("images");
  s.option("accumulate", &TrainOptions::accumulate,
           "Number of parts a batch is computed in; their gradients add up to the batch's.")
      .range(1, 1 << 16);
  s.option("shard_optimizer", &TrainOptions::shard_optimizer,
           "Several processes divide the optimiser's state and the averages, where else each has all of them. Costs an "
           "exchange of the weights after each step.");
  s.option("total_images", &TrainOptions::total_images, "Length of the training.")
      .range(1, kMostTrainingImages)
      .in_unit("images");
  s.option("cuda_graph", &TrainOptions::cuda_graph,
           "Record the losses and gradients of a step on the GPU, and replay them for the images of the next ones; "
           "`auto`: if the experiment allows that; `on`: or end.");
}

void OptimizerOptions::describe(Schema<OptimizerOptions>& s) {
  s.flatten_component(&OptimizerOptions::component, "optimizer");
  s.option("learning_rate", &OptimizerOptions::learning_rate, "Step size after warm-up, before it falls.")
      .greater_than(0);
  s.option("warmup_images", &OptimizerOptions::warmup_images, "The learning rate rises linearly over this many images.")
      .at_least(0)
      .in_unit("images");
  s.option("schedule", &OptimizerOptions::schedule,
           "The learning rate after warm-up: `constant`; `linear` or as half a `cosine` down to the end of training; "
           "`inverse_sqrt` 1 / sqrt(images / reference_images) from there on (Karras et al. 2024); `wsd` constant and "
           "at the end down over decay_images (Hu et al. 2024).");
  s.option("decay_images", &OptimizerOptions::decay_images,
           "The learning rate of `wsd` falls over this many images; 0: a fifth of the training.")
      .at_least(0)
      .at_most("train.total_images")
      .in_unit("images")
      .only_with("schedule", {"wsd"});
  s.option("reference_images", &OptimizerOptions::reference_images,
           "The learning rate of `inverse_sqrt` falls from here on; 0: from the end of warm-up.")
      .at_least(0)
      .in_unit("images")
      .only_with("schedule", {"inverse_sqrt"});
  s.option("final_fraction", &OptimizerOptions::final_fraction,
           "What `linear`, `cosine` and `wsd` fall to, as a fraction of the learning rate.")
      .range(0, 1)
      .not_with("schedule", {"constant", "inverse_sqrt"});
  s.option("clip_norm", &OptimizerOptions::clip_norm, "Gradients are scaled down to this L2 norm; 0: never.")
      .at_least(0);
  s.option("grouping", &OptimizerOptions::grouping,
           "What one gradient norm is taken over: each `module` of the head, or all of them `joint`ly, which couples "
           "them.");
}

std::vector<std::string> OptimizerOptions::modules() const {
  std::vector<std::string> result;
  if (!component.table.is_table()) return result;
  for (const auto& [key, value] : component.table.as_table()) {
    if (value.is_table()) result.push_back(key);
  }
  return result;
}

OptimizerOptions OptimizerOptions::of(const std::string& module) const {
  const Value* own = component.table.find(module);
  if (own == nullptr || !own->is_table()) return *this;
  Value table = component.table;
  std::erase_if(table.as_table(), [](const Value::Member& member) { return member.second.is_table(); });
  merge(table, *own, host_fields(&host_schema(), "optimizer"));
  return read_options<OptimizerOptions>(table);
}

void GuidanceOptions::describe(Schema<GuidanceOptions>& s) {
  s.option("scale", &GuidanceOptions::scale,
           "Classifier-free guidance in sampling: 1 the estimate at the label, 0 the one without, above 1 beyond it.")
      .at_least(0);
  s.option("interval", &GuidanceOptions::interval,
           "Part of the diffusion that is guided, as fractions of T; elsewhere the estimate at the label is used.")
      .not_with("scale", {1});
}

void LogOptions::describe(Schema<LogOptions>& s) {
  s.option("every_images", &LogOptions::every_images, "A line in metrics.jsonl this often.")
      .at_least(1)
      .in_unit("images");
  s.option("grad_norms_every_images", &LogOptions::grad_norms_every_images,
           "The gradient norm of each loss term alone this often, and at the end, at the cost of a backward pass for "
           "each; 0: never.")
      .at_least(0)
      .in_unit("images");
  s.option("sample_every_images", &LogOptions::sample_every_images, "A grid of samples this often; 0: only at the end.")
      .at_least(0)
      .in_unit("images")
      .not_with("sample_count", {0});
  s.option("sample_count", &LogOptions::sample_count, "Samples in a grid; 0: none.").range(0, 4096);
}

void CheckpointOptions::describe(Schema<CheckpointOptions>& s) {
  s.option("every_images", &CheckpointOptions::every_images, "A checkpoint this often, and at the end.")
      .at_least(1)
      .in_unit("images");
  s.option("keep_last", &CheckpointOptions::keep_last, "Older checkpoints are removed.").range(1, 1000000);
  s.option("in_background", &CheckpointOptions::in_background,
           "Copy the state and write it while the training goes on, if the host has memory for the copy; `auto`: on a "
           "GPU.");
}

void InitOptions::describe(Schema<InitOptions>& s) {
  s.option("module", &InitOptions::module, "A module of the head: the name of its table under [head].").required();
  s.option("from", &InitOptions::from, "A run folder (its newest EMA weights) or a safetensors file.").required();
  s.option("freeze", &InitOptions::freeze, "Do not train the module; train the others on top of it.");
}

void UsedPlugin::describe(Schema<UsedPlugin>& s) {
  s.option("id", &UsedPlugin::id, "The plugin's id.").required();
  s.option("version", &UsedPlugin::version, "Its version.");
  s.option("build_id", &UsedPlugin::build_id, "GNU build id of the library.");
}

void LockedPlugin::describe(Schema<LockedPlugin>& s) {
  s.option("id", &LockedPlugin::id, "The plugin's id.").required();
  s.option("sha256", &LockedPlugin::sha256, "SHA-256 of its library, in hexadecimal.").required();
}

void PluginOptions::describe(Schema<PluginOptions>& s) {
  s.option("paths", &PluginOptions::paths, "Plugin libraries or folders of them, searched before the installed ones.");
  s.option("lock", &PluginOptions::lock,
           "With entries, only these files may be used; `casdm plugins lock --config FILE` prints them.");
  s.option("used", &PluginOptions::used, "Written by the host into a run's config: the plugins that made it.");
}

void Experiment::describe(Schema<Experiment>& s) {
  s.option("run", &Experiment::run, "Name, seed, device and precision.");
  s.option("data", &Experiment::data, "The images: a data set and how they are prepared.").required();
  s.component("augmentation", &Experiment::augmentation, "augmentation",
              "Random augmentation of the training images, passed to the networks as a label; left out: none.");
  s.component("noise", &Experiment::noise, "noise_scheduler", "The forward process.").required();
  s.component("timesteps", &Experiment::timesteps, "timestep_sampler",
              "Which timesteps the networks are trained at; left out: each is equally likely.");
  s.component("head", &Experiment::head, "cascade_head", "How networks become a diffusion model.").required();
  s.option("metrics", &Experiment::metrics, "Metric losses on the predicted clean image, one table each.");
  s.component("sampler", &Experiment::sampler, "sampler",
              "How images are drawn, in training's grids and by `casdm sample`.")
      .required();
  s.option("guidance", &Experiment::guidance, "How strongly samples follow their class labels.");
  s.option("train", &Experiment::train, "Length and batch of the training.");
  OptionSpec& optimizer =
      s.option("optimizer", &Experiment::optimizer, "The optimizer, its learning rate and gradient clipping.");
  OptionSpec of_module = named_tables(optimizer, "MODULE",
                                      "Overrides for one module of the head, such as [optimizer.phi]: keys of "
                                      "this table but `grouping`, and of the optimizer; `type` chooses another.");
  std::erase_if(of_module.fields, [](const OptionSpec& field) { return field.name == "grouping"; });
  optimizer.fields.push_back(std::move(of_module));
  optimizer.default_value.set("type", "");  // the recommended one
  s.option("ema", &Experiment::ema, "The average of the weights that sampling uses.");
  OptionSpec& log = s.option("log", &Experiment::log, "What is recorded, and how often.");
  declare_tensorboard(log);
  s.option("checkpoint", &Experiment::checkpoint, "When states are saved.");
  declare_evaluate(const_cast<OptionSchema&>(s.specs()));
  s.option("init", &Experiment::init, "Weights to start from, one table per module.");
  s.option("plugins", &Experiment::plugins, "Where plugins are found.");
}

void AverageOptions::describe(Schema<AverageOptions>& s) {
  s.option("name", &AverageOptions::name, "Name in checkpoints, and of `casdm sample --weights NAME`.")
      .file_name()
      .required();
  s.option("decay", &AverageOptions::decay, "Per-step decay, with [ema]'s warmup.").range(0, 1);
  s.option("half_life", &AverageOptions::half_life, "The weights of this long ago count half.")
      .at_least(1)
      .in_unit("images");
  s.option("sigma_rel", &AverageOptions::sigma_rel,
           "Power function of this width, as a fraction of the training so far (Karras et al. 2024).")
      .at_least(kSmallestSigmaRel);
  s.option("rampup_ratio", &AverageOptions::rampup_ratio, "See [ema]; limits half_life.")
      .at_least(0)
      .not_with("decay")
      .not_with("sigma_rel");
}

void EmaOptions::describe(Schema<EmaOptions>& s) {
  s.option("decay", &EmaOptions::decay, "Per-step decay of the averaged weights that sampling uses.")
      .range(0, 1)
      .not_with("half_life");
  s.option("warmup", &EmaOptions::warmup,
           "Use min(decay, (1 + step) / (10 + step)), so that early averages are not the noise of the start.");
  s.option("half_life", &EmaOptions::half_life,
           "The weights of this long ago count half, in place of `decay`; 0: `decay`.")
      .at_least(0)
      .in_unit("images");
  s.option("rampup_ratio", &EmaOptions::rampup_ratio,
           "half_life is at most this fraction of the images seen so far (Karras et al. 2022); 0: no such limit.")
      .at_least(0)
      .not_with("half_life", {0});
  s.option("also", &EmaOptions::also, "Additional averages, one table each.");
  s.option("snapshot_every_images", &EmaOptions::snapshot_every_images,
           "Snapshots of the averages with sigma_rel this often, and at the end, for `casdm ema`; 0: never.")
      .at_least(0)
      .in_unit("images");
}

Value load_experiment_document(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  Value document = load_document(file, overrides);
  if (document.find("arms") == nullptr || document.find("head") != nullptr) return document;
  throw ConfigError(text(
      file.string(), " is a sweep, as it has [[arms]], and not an experiment. To run it: casdm sweep ", file.string()));
}

}  // namespace casdm
