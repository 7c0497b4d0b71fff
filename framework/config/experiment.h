#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "casdm/options.h"
#include "framework/config/ema_options.h"
#include "framework/config/run_choices.h"

/// The experiment file as the host understands it. Everything scientific is a component: a table with `type` whose
/// other keys belong to the plugin, except for the host's keys declared here.
namespace casdm {

/// [run]
struct RunOptions {
  std::string name = "run";
  std::int64_t seed = 0;
  std::string device = "auto";
  Precision precision = Precision::fp32;
  bool deterministic = true;
  std::int64_t threads = 0;
  std::filesystem::path directory = "runs";

  static void describe(Schema<RunOptions>& s);
};

/// Whether decoded images are kept in memory.
enum class CacheMode { automatic, always, never };

constexpr auto choices_of(CacheMode) {
  using enum CacheMode;
  return choices<CacheMode>({{automatic, "auto"}, {always, "always"}, {never, "never"}});
}

/// [data]: a dataset component and what the host does with its images.
struct DataOptions {
  ComponentConfig dataset;
  std::int64_t image_size = 32;
  std::int64_t channels = 3;
  bool random_flip = false;
  std::int64_t workers = 2;
  CacheMode cache = CacheMode::automatic;
  bool skip_unreadable = false;
  bool use_labels = false;
  double label_dropout = 0.0;

  static void describe(Schema<DataOptions>& s);
};

/// A metric's weight by t: 1, or A_t.
enum class MetricWeight { uniform, alpha_bar };

constexpr auto choices_of(MetricWeight) {
  using enum MetricWeight;
  return choices<MetricWeight>({{uniform, "uniform"}, {alpha_bar, "alpha_bar"}});
}

/// The unit of a metric's noise_range; see framework/training/metric_selection.h.
enum class NoiseUnit { log_snr, flow_time, t_fraction };

constexpr auto choices_of(NoiseUnit) {
  using enum NoiseUnit;
  return choices<NoiseUnit>({{log_snr, "log_snr"}, {flow_time, "flow_time"}, {t_fraction, "t_fraction"}});
}

/// The images over which a metric is averaged: all of a batch, or those to which it is applied.
enum class MetricMean { batch, active };

constexpr auto choices_of(MetricMean) {
  using enum MetricMean;
  return choices<MetricMean>({{batch, "batch"}, {active, "active"}});
}

/// The divisor of a metric's gradient: none, or a power of its value.
enum class MetricNormalisation { none, self };

constexpr auto choices_of(MetricNormalisation) {
  using enum MetricNormalisation;
  return choices<MetricNormalisation>({{none, "none"}, {self, "self"}});
}

/// The length to which a metric's gradient is scaled: unchanged, or that of the squared error.
enum class MetricBalance { none, squared_error };

constexpr auto choices_of(MetricBalance) {
  using enum MetricBalance;
  return choices<MetricBalance>({{none, "none"}, {squared_error, "squared_error"}});
}

/// Arithmetic of a metric's network.
enum class MetricPrecision { fp32, bf16 };

constexpr auto choices_of(MetricPrecision) {
  using enum MetricPrecision;
  return choices<MetricPrecision>({{fp32, "fp32"}, {bf16, "bf16"}});
}

/// One of [[metrics]]: a metric component and how the host applies it.
struct MetricOptions {
  ComponentConfig metric;
  std::string name;
  double weight = 0.1;
  std::array<double, 2> t_range = {0.0, 1.0};
  std::optional<std::array<double, 2>> noise_range;
  std::optional<NoiseUnit> noise_unit;
  MetricWeight t_weight = MetricWeight::uniform;
  MetricMean mean = MetricMean::batch;
  Count warmup_images = 0;
  Count until_images = 0;
  std::int64_t every = 1;
  double share = 1.0;
  MetricNormalisation normalise = MetricNormalisation::none;
  double normalise_power = 1.0;
  MetricBalance balance = MetricBalance::none;
  std::int64_t crop = 0;
  std::int64_t resize = 0;
  std::array<double, 2> input_range = {-1.0, 1.0};
  MetricPrecision precision = MetricPrecision::fp32;

  static void describe(Schema<MetricOptions>& s);
};

/// Whether steps are replayed from a graph of the device; see framework/training/step_graph.h.
enum class GraphMode { off, automatic, on };

constexpr auto choices_of(GraphMode) {
  using enum GraphMode;
  return choices<GraphMode>({{off, "off"}, {automatic, "auto"}, {on, "on"}});
}

/// [train]
struct TrainOptions {
  std::int64_t batch_size = 64;
  std::int64_t accumulate = 1;
  bool shard_optimizer = false;
  Count total_images = 100000;
  GraphMode cuda_graph = GraphMode::off;

  static void describe(Schema<TrainOptions>& s);
};

/// The learning rate after warm-up: framework/training/learning_rate.h.
enum class RateSchedule { constant, linear, cosine, inverse_sqrt, wsd };

constexpr auto choices_of(RateSchedule) {
  using enum RateSchedule;
  return choices<RateSchedule>(
      {{constant, "constant"}, {linear, "linear"}, {cosine, "cosine"}, {inverse_sqrt, "inverse_sqrt"}, {wsd, "wsd"}});
}

/// The parameters over which a gradient norm is taken: one module's, or all.
enum class Grouping { module, joint };

constexpr auto choices_of(Grouping) {
  using enum Grouping;
  return choices<Grouping>({{module, "module"}, {joint, "joint"}});
}

/// [optimizer]: an optimizer component, which each module of the head gets its own instance of, and its learning rate.
/// A table [optimizer.MODULE] changes some of the keys for one module.
struct OptimizerOptions {
  ComponentConfig component;
  double learning_rate = 1e-4;
  Count warmup_images = 0;
  RateSchedule schedule = RateSchedule::constant;
  Count decay_images = 0;
  Count reference_images = 0;
  double final_fraction = 0.0;
  double clip_norm = 1.0;
  Grouping grouping = Grouping::module;

  static void describe(Schema<OptimizerOptions>& s);

  /// The names of the tables [optimizer.MODULE].
  std::vector<std::string> modules() const;

  /// The options for a module: its table merged over this one.
  OptimizerOptions of(const std::string& module) const;
};

/// [guidance]: see framework/sampling/guidance.h.
struct GuidanceOptions {
  double scale = 1.0;
  std::array<double, 2> interval = {0.0, 1.0};

  static void describe(Schema<GuidanceOptions>& s);
};

/// [log]
struct LogOptions {
  Count every_images = 5000;
  Count grad_norms_every_images = 0;
  Count sample_every_images = 0;
  std::int64_t sample_count = 36;

  static void describe(Schema<LogOptions>& s);
};

/// Whether checkpoints are written while the training goes on.
enum class BackgroundMode { automatic, always, never };

constexpr auto choices_of(BackgroundMode) {
  using enum BackgroundMode;
  return choices<BackgroundMode>({{automatic, "auto"}, {always, "always"}, {never, "never"}});
}

/// [checkpoint]
struct CheckpointOptions {
  Count every_images = 50000;
  std::int64_t keep_last = 3;
  BackgroundMode in_background = BackgroundMode::automatic;

  static void describe(Schema<CheckpointOptions>& s);
};

/// One of [[init]]: the weights with which a module starts.
struct InitOptions {
  std::string module;
  std::filesystem::path from;
  bool freeze = false;

  static void describe(Schema<InitOptions>& s);
};

/// One of [[plugins.used]]: the build of a plugin with which a run was made. Written by the host.
struct UsedPlugin {
  std::string id;
  std::string version;
  std::string build_id;

  static void describe(Schema<UsedPlugin>& s);
};

/// One of [[plugins.lock]]: the only file that the experiment may use for a plugin.
struct LockedPlugin {
  std::string id;
  std::string sha256;

  static void describe(Schema<LockedPlugin>& s);
};

/// [plugins]
struct PluginOptions {
  std::vector<std::filesystem::path> paths;
  std::vector<LockedPlugin> lock;
  std::vector<UsedPlugin> used;

  static void describe(Schema<PluginOptions>& s);
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

  static void describe(Schema<Experiment>& s);
};

/// The document of an experiment file with its overrides, not resolved. Throws ConfigError for a sweep.
Value load_experiment_document(const std::filesystem::path& file, const std::vector<std::string>& overrides);

}  // namespace casdm
