#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "casdm/options.h"
#include "framework/config/ema_options.h"

/// The experiment file as the host understands it. Everything scientific is a component: a table
/// with `type` whose other keys belong to the plugin, beside the host's keys declared here.
namespace casdm {

/// [run]
struct RunOptions {
  std::string name = "run";
  std::int64_t seed = 0;
  std::string device = "auto";
  std::string precision = "fp32";
  std::int64_t threads = 0;
  std::filesystem::path directory = "runs";

  static void describe(Schema<RunOptions>& s) {
    s.option("name", &RunOptions::name, "Name of the run, and of its folder in `directory`.").file_name();
    s.option("seed", &RunOptions::seed, "Every draw of the run is a function of this, the step and the draw's purpose.")
        .at_least(0);
    s.option("device", &RunOptions::device, "Where to compute; `auto` takes CUDA when a device is present.")
        .choices({"auto", "cpu", "cuda"});
    s.option("precision", &RunOptions::precision,
             "Arithmetic of the networks; weights, losses and the diffusion's own algebra stay in fp32.")
        .choices({"fp32", "bf16", "fp16"});
    s.option("threads", &RunOptions::threads, "Threads of one CPU operation; 0: all cores.").range(0, 1024);
    s.option("directory", &RunOptions::directory,
             "Folder that holds the run folders; relative to the working directory.");
  }
};

/// [data]: a dataset component and what the host does with its images.
struct DataOptions {
  ComponentConfig dataset;
  std::int64_t image_size = 32;
  std::int64_t channels = 3;
  bool random_flip = false;
  std::int64_t workers = 2;
  std::string cache = "auto";
  bool skip_unreadable = false;
  bool use_labels = false;
  double label_dropout = 0.0;

  static void describe(Schema<DataOptions>& s) {
    s.flatten_component(&DataOptions::dataset, "dataset");
    s.option("image_size", &DataOptions::image_size, "Images are cropped to their central square and resized to this.")
        .range(1, 4096)
        .in_unit("px");
    s.option("channels", &DataOptions::channels, "3 for RGB, 1 for grey.").choices({1, 3});
    s.option("random_flip", &DataOptions::random_flip, "Mirror each image left to right with probability 1/2.");
    s.option("workers", &DataOptions::workers, "Threads that decode images ahead of training.").range(1, 256);
    s.option("cache", &DataOptions::cache, "Keep decoded images in memory; `auto`: when they take less than 1 GiB.")
        .choices({"auto", "always", "never"});
    s.option("skip_unreadable", &DataOptions::skip_unreadable,
             "Replace an image that cannot be decoded by the next one (named in the log) instead of stopping.");
    s.option("use_labels", &DataOptions::use_labels, "Condition the networks on the data set's class labels.");
    s.option("label_dropout", &DataOptions::label_dropout,
             "Probability that an image's label is replaced by one more class, \"no label\", which guidance needs.")
        .range(0, 1);
  }
};

/// One of [[metrics]]: a metric component and how the host applies it.
struct MetricOptions {
  ComponentConfig metric;
  std::string name;
  double weight = 0.1;
  std::array<double, 2> t_range = {0.0, 1.0};
  std::string t_weight = "uniform";
  Count warmup_images = 0;
  std::int64_t resize = 0;
  std::array<double, 2> input_range = {-1.0, 1.0};

  static void describe(Schema<MetricOptions>& s) {
    s.flatten_component(&MetricOptions::metric, "metric_loss");
    s.option("name", &MetricOptions::name, "Name in logs (`metric.<name>`); empty: the component's name.");
    s.option("weight", &MetricOptions::weight, "Factor of the metric in the objective.").at_least(0);
    s.option("t_range", &MetricOptions::t_range,
             "Part of the diffusion the metric acts on, as fractions of T: [0, 0.7] leaves out the noisiest 30 %.")
        .range(0, 1);
    s.option("t_weight", &MetricOptions::t_weight,
             "Weight by timestep: `uniform`, or `alpha_bar` = A_t (fades with the noise).")
        .choices({"uniform", "alpha_bar"});
    s.option("warmup_images", &MetricOptions::warmup_images, "The weight rises linearly from 0 over this many images.")
        .at_least(0)
        .in_unit("images");
    s.option("resize", &MetricOptions::resize,
             "Resize both images bilinearly to this before the metric; 0: as they are.")
        .range(0, 4096)
        .in_unit("px");
    s.option("input_range", &MetricOptions::input_range, "Range that [-1, 1] is mapped to before the metric.");
  }
};

/// [train]
struct TrainOptions {
  std::int64_t batch_size = 64;
  std::int64_t accumulate = 1;
  Count total_images = 100000;

  static void describe(Schema<TrainOptions>& s) {
    s.option("batch_size", &TrainOptions::batch_size, "Images of one optimiser step.")
        .range(1, 1 << 20)
        .in_unit("images");
    s.option("accumulate", &TrainOptions::accumulate,
             "Parts a batch is computed in; their gradients add up to the batch's.")
        .range(1, 1 << 16);
    s.option("total_images", &TrainOptions::total_images, "Length of the training.").at_least(1).in_unit("images");
  }
};

/// [optimizer]: one Adam per module of the head.
struct OptimizerOptions {
  double learning_rate = 1e-4;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0.0;
  Count warmup_images = 0;
  std::string schedule = "constant";
  double clip_norm = 1.0;
  std::string grouping = "module";

  static void describe(Schema<OptimizerOptions>& s) {
    s.option("learning_rate", &OptimizerOptions::learning_rate, "Adam's step size after warm-up.").greater_than(0);
    s.option("betas", &OptimizerOptions::betas, "Decay rates of Adam's two moments.").at_least(0).less_than(1);
    s.option("eps", &OptimizerOptions::eps, "Adam's term for numerical stability.").greater_than(0);
    s.option("weight_decay", &OptimizerOptions::weight_decay, "Decoupled weight decay (AdamW).").at_least(0);
    s.option("warmup_images", &OptimizerOptions::warmup_images,
             "The learning rate rises linearly over this many images.")
        .at_least(0)
        .in_unit("images");
    s.option("schedule", &OptimizerOptions::schedule, "After warm-up: `constant`, or down to 0 at the end of training.")
        .choices({"constant", "linear", "cosine"});
    s.option("clip_norm", &OptimizerOptions::clip_norm, "Gradients are scaled down to this L2 norm; 0: never.")
        .at_least(0);
    s.option("grouping", &OptimizerOptions::grouping,
             "What one gradient norm is taken over: each `module` of the head, or all of them `joint`ly, which couples "
             "them.")
        .choices({"module", "joint"});
  }
};

/// [guidance]: see framework/sampling/guidance.h.
struct GuidanceOptions {
  double scale = 1.0;
  std::array<double, 2> interval = {0.0, 1.0};

  static void describe(Schema<GuidanceOptions>& s) {
    s.option("scale", &GuidanceOptions::scale,
             "Classifier-free guidance in sampling: 1 the estimate at the label, 0 the one without, above 1 beyond it.")
        .at_least(0);
    s.option("interval", &GuidanceOptions::interval,
             "Part of the diffusion that is guided, as fractions of T; elsewhere the estimate at the label is used.");
  }
};

/// [log]
struct LogOptions {
  Count every_images = 5000;
  Count sample_every_images = 0;
  std::int64_t sample_count = 36;

  static void describe(Schema<LogOptions>& s) {
    s.option("every_images", &LogOptions::every_images, "A line in metrics.jsonl this often.")
        .at_least(1)
        .in_unit("images");
    s.option("sample_every_images", &LogOptions::sample_every_images,
             "A grid of samples this often; 0: only at the end.")
        .at_least(0)
        .in_unit("images");
    s.option("sample_count", &LogOptions::sample_count, "Samples in a grid; 0: none.").range(0, 4096);
  }
};

/// [checkpoint]
struct CheckpointOptions {
  Count every_images = 50000;
  std::int64_t keep_last = 3;

  static void describe(Schema<CheckpointOptions>& s) {
    s.option("every_images", &CheckpointOptions::every_images, "A checkpoint this often, and at the end.")
        .at_least(1)
        .in_unit("images");
    s.option("keep_last", &CheckpointOptions::keep_last, "Older checkpoints are removed.").range(1, 1000000);
  }
};

/// One of [[init]]: weights a module starts from.
struct InitOptions {
  std::string module;
  std::filesystem::path from;
  bool freeze = false;

  static void describe(Schema<InitOptions>& s) {
    s.option("module", &InitOptions::module, "A module of the head, such as `theta`.").required();
    s.option("from", &InitOptions::from, "A run folder (its newest EMA weights) or a safetensors file.").required();
    s.option("freeze", &InitOptions::freeze, "Keep the module as it is: train the others on top of it.");
  }
};

/// One of [[plugins.used]]: which build of a plugin made a run. Written by the host.
struct UsedPlugin {
  std::string id;
  std::string version;
  std::string build_id;

  static void describe(Schema<UsedPlugin>& s) {
    s.option("id", &UsedPlugin::id, "The plugin's id.").required();
    s.option("version", &UsedPlugin::version, "Its version.");
    s.option("build_id", &UsedPlugin::build_id, "GNU build id of the library.");
  }
};

/// One of [[plugins.lock]]: the only file of a plugin that the experiment may use.
struct LockedPlugin {
  std::string id;
  std::string sha256;

  static void describe(Schema<LockedPlugin>& s) {
    s.option("id", &LockedPlugin::id, "The plugin's id.").required();
    s.option("sha256", &LockedPlugin::sha256, "SHA-256 of its library, in hexadecimal.").required();
  }
};

/// [plugins]
struct PluginOptions {
  std::vector<std::filesystem::path> paths;
  std::vector<LockedPlugin> lock;
  std::vector<UsedPlugin> used;

  static void describe(Schema<PluginOptions>& s) {
    s.option("paths", &PluginOptions::paths,
             "Plugin libraries or folders of them, searched before the installed ones.");
    s.option("lock", &PluginOptions::lock,
             "With entries, only these files may be used; `casdm plugins lock --config FILE` prints them.");
    s.option("used", &PluginOptions::used, "Written by the host into a run's config: the plugins that made it.");
  }
};

/// The whole file.
struct Experiment {
  RunOptions run;
  DataOptions data;
  ComponentConfig augmentation;  ///< no `type`: none
  ComponentConfig noise;
  ComponentConfig timesteps;  ///< no `type`: every timestep equally likely
  ComponentConfig head;
  std::vector<MetricOptions> metrics;
  ComponentConfig sampler;
  GuidanceOptions guidance;
  TrainOptions train;
  OptimizerOptions optimizer;
  EmaOptions ema;
  LogOptions log;
  CheckpointOptions checkpoint;
  std::vector<InitOptions> init;
  PluginOptions plugins;

  static void describe(Schema<Experiment>& s) {
    s.option("run", &Experiment::run, "Name, seed, device and precision.");
    s.option("data", &Experiment::data, "The images: a data set and how they are prepared.").required();
    s.component("augmentation", &Experiment::augmentation, "augmentation",
                "A random change of the training images that the networks are told of; left out: none.");
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
    s.option("optimizer", &Experiment::optimizer, "Adam, learning rate and gradient clipping.");
    s.option("ema", &Experiment::ema, "The average of the weights that sampling uses.");
    s.option("log", &Experiment::log, "What is recorded, and how often.");
    s.option("checkpoint", &Experiment::checkpoint, "When states are saved.");
    s.option("init", &Experiment::init, "Weights to start from, one table a module.");
    s.option("plugins", &Experiment::plugins, "Where plugins are found.");
  }
};

}  // namespace casdm
