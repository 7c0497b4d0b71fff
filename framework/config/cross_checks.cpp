#include "framework/config/cross_checks.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/key_path.h"
#include "framework/config/limits.h"
#include "framework/config/merge.h"
#include "framework/config/parse_toml.h"
#include "framework/config/problems.h"
#include "framework/config/void_options.h"
#include "framework/config/walk.h"
#include "framework/config/wording.h"
#include "framework/support/component_name.h"
#include "framework/support/files.h"
#include "framework/training/power_function.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLongestPathShown = 200;
constexpr std::size_t kLongestMetricName = 100;

std::string range(const std::array<double, 2>& ends) { return text('[', number(ends[0]), ", ", number(ends[1]), ']'); }

std::string does_not_rise(const std::array<double, 2>& ends, std::string_view within = "") {
  return text("expected a lower and a higher number", within, ", got ", range(ends), ", which does not rise", within);
}

bool is_word(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
}

bool is_name_of_metric(const std::string& name) {
  return !name.empty() && name.size() <= kLongestMetricName &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; });
}

double sum_of_numbers(const std::string& list) {
  double sum = 0;
  for (std::size_t i = 0; i < list.size();) {
    const std::size_t end = std::min(list.find_first_not_of("0123456789", i), list.size());
    double number = 0;
    for (; i < end; ++i) number = 10 * number + (list[i] - '0');
    sum += number;
    ++i;
  }
  return sum;
}

class CrossChecks {
 public:
  CrossChecks(const Value& experiment, Problems& problems)
      : experiment_(experiment), options_(read_options<Experiment>(experiment)), problems_(problems) {}

  void run() const {
    metrics();
    averages();
    guidance();
    optimizer();
    if (options_.plugins.paths.size() > kMostPluginPaths) {
      problem("plugins.paths",
              text("expected at most ", kMostPluginPaths, " paths, got ", options_.plugins.paths.size()));
    }
    const TrainOptions& train = options_.train;
    if (train.batch_size % train.accumulate != 0) {
      problem("train.accumulate",
              text("expected a divisor of train.batch_size = ", train.batch_size, ", got ", train.accumulate));
    }
  }

  void no_more_than_another_key(const Value& value, const OptionSpec& spec, const Location& location) const {
    const Value* limit = spec.at_most_key.empty() ? nullptr : find_path(experiment_, spec.at_most_key);
    if (limit == nullptr || !limit->is_number() || !(value.is_number() || value.is_string())) return;
    if (value.location().file.empty()) return;  // if it is a default, another key may override it
    const double given = value.is_string() ? sum_of_numbers(value.as_string()) : value.as_number();
    if (given <= limit->as_number()) return;
    problems_.add(location, text("expected ", value.is_string() ? "numbers that sum up to at most " : "at most ",
                                 spec.at_most_key, " = ", to_toml_value(*limit), ", got ", got(value)));
  }

 private:
  void problem(const std::string& path, const std::string& message) const {
    problems_.add_at(experiment_, path, message);
  }

  void metrics() const {
    std::map<std::string, std::size_t> names;
    for (std::size_t i = 0; i < options_.metrics.size(); ++i) {
      const MetricOptions& metric = options_.metrics[i];
      const std::string path = text("metrics.", i);
      const std::string name = metric.name.empty() ? component_name(metric.metric.type) : metric.name;
      const auto [first, is_new] = names.try_emplace(name, i);
      if (!is_name_of_metric(name)) {
        problem(path + ".name", text("it names the metric in logs: expected 1 to ", kLongestMetricName,
                                     " characters without blanks, got ", quoted(name)));
      }
      if (!is_new) {
        problem(path + ".name", text("metrics.", first->second, " is named ", quoted(name),
                                     ", too; set name = \"...\" in one of them"));
      }
      if (metric.t_range[0] >= metric.t_range[1]) {
        problem(path + ".t_range", does_not_rise(metric.t_range));
      }
      if (metric.input_range[0] >= metric.input_range[1]) {
        problem(path + ".input_range", does_not_rise(metric.input_range));
      }
      noise_range(metric, path);
      if (metric.crop > options_.data.image_size) {
        problem(path + ".crop", text("expected at most data.image_size = ", options_.data.image_size, ", got ",
                                     metric.crop, ": a crop is cut before images are resized"));
      }
    }
  }

  void noise_range(const MetricOptions& metric, const std::string& path) const {
    if (metric.noise_range.has_value() != metric.noise_unit.has_value()) {
      if (metric.noise_unit) {
        problem(path + ".noise_unit", "it is the unit of noise_range, which is missing; add noise_range = [low, high]");
      } else {
        problem(path + ".noise_range",
                "its unit is missing; add noise_unit = \"flow_time\", \"log_snr\" or \"t_fraction\"");
      }
      return;
    }
    if (!metric.noise_range) return;
    const std::array<double, 2>& ends = *metric.noise_range;
    if (!(ends[0] < ends[1])) {
      problem(path + ".noise_range", does_not_rise(ends));
    } else if (*metric.noise_unit != NoiseUnit::log_snr && (ends[0] < 0 || ends[1] > 1)) {
      problem(path + ".noise_range",
              text("in the unit \"", to_string(*metric.noise_unit), "\" it lies within [0, 1], got ", range(ends)));
    }
  }

  void averages() const {
    std::set<std::string> names;
    std::set<double> widths;
    for (std::size_t i = 0; i < options_.ema.also.size(); ++i) {
      const AverageOptions& also = options_.ema.also[i];
      const std::string path = text("ema.also.", i);
      const int forms = also.decay.has_value() + also.half_life.has_value() + also.sigma_rel.has_value();
      if (forms != 1) problem(path, text("expected exactly one of decay, half_life and sigma_rel, got ", forms));
      if (!is_word(also.name) || also.name == "ema" || also.name == "raw") {
        problem(path + ".name",
                text("expected letters, digits, _ and -, and neither \"ema\" nor \"raw\", got ", quoted(also.name)));
      }
      if (!names.insert(also.name).second) {
        problem(path + ".name", text("another average is named ", quoted(also.name), ", too"));
      }
      if (also.sigma_rel && *also.sigma_rel > kLargestSigmaRel) {
        problem(path + ".sigma_rel", text("expected at most ", number(kLargestSigmaRel), ", the uniform average, got ",
                                          number(*also.sigma_rel), "; 0.05 to 0.15 are usual"));
      }
      if (also.sigma_rel && !widths.insert(*also.sigma_rel).second) {
        problem(path + ".sigma_rel", text("another average has ", number(*also.sigma_rel), ", too"));
      }
    }
    if (options_.ema.snapshot_every_images > 0 && widths.empty()) {
      problem(
          "ema.snapshot_every_images",
          "snapshots are taken of averages with sigma_rel, and there are none; add two, such as [[ema.also]] name = "
          "\"p05\" sigma_rel = 0.05 and [[ema.also]] name = \"p10\" sigma_rel = 0.1");
    }
  }

  void optimizer() const {
    const OptimizerOptions& all = options_.optimizer;
    learning_rate(all, "optimizer");
    for (const std::string& module : all.modules()) {
      const std::string path = key_path("optimizer", module);
      if (all.grouping == Grouping::joint && find_path(experiment_, path + ".clip_norm") != nullptr) {
        problem(path + ".clip_norm",
                "with optimizer.grouping = \"joint\" all modules have one norm; set "
                "optimizer.clip_norm");
      }
      if (find_path(experiment_, path + ".schedule") || find_path(experiment_, path + ".warmup_images") ||
          find_path(experiment_, path + ".reference_images")) {
        learning_rate(all.of(module), path);
      }
    }
  }

  void learning_rate(const OptimizerOptions& options, const std::string& path) const {
    if (options.schedule != RateSchedule::inverse_sqrt || options.reference_images > 0 || options.warmup_images > 0)
      return;
    problem(path + ".schedule",
            "\"inverse_sqrt\" falls from reference_images on, or from the end of warm-up: set "
            "reference_images or warmup_images above 0");
  }

  void guidance() const {
    const std::array<double, 2>& interval = options_.guidance.interval;
    const DataOptions& data = options_.data;
    if (data.label_dropout > 0 && !data.use_labels) {
      problem("data.label_dropout", "there are no labels to drop; set data.use_labels = true");
    }
    if (interval[0] < 0 || interval[1] > 1 || interval[0] >= interval[1]) {
      problem("guidance.interval", does_not_rise(interval, " within [0, 1]"));
    }
    if (options_.guidance.scale == 1 || data.label_dropout > 0) return;
    problem("guidance.scale",
            text("the networks are trained without ", data.use_labels ? "\"no label\"" : "labels",
                 ", so there is nothing to guide away from; train with data.use_labels = true and data.label_dropout = "
                 "0.1, or leave guidance.scale at 1"));
  }

  const Value& experiment_;
  const Experiment options_;
  Problems& problems_;
};

/// Adds the strings that TOML cannot hold. A folder or an override can have bytes that are not UTF-8.
void add_unwritable(const Value& experiment, const ComponentCatalog& catalog, Problems& problems) {
  Visitors visitors;
  visitors.value = [&](const Value& value, const OptionSpec&, const Location& location) {
    try {
      if (value.is_string()) parse_toml_value(to_toml_value(value));
    } catch (const ConfigError&) {
      problems.add(location, text(quoted(value.as_string(), kLongestPathShown),
                                  " is not UTF-8, and config.toml cannot hold it; rename it, or make a link to it"));
    }
  };
  walk(experiment, host_schema(), catalog, visitors);
}

}  // namespace

Value checked_experiment(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog,
                         Missing missing) {
  Value experiment = resolve(document, schema, catalog, missing);
  Problems problems;
  const CrossChecks checks(experiment, problems);
  checks.run();
  Visitors visitors;
  visitors.value = [&](const Value& value, const OptionSpec& spec, const Location& location) {
    checks.no_more_than_another_key(value, spec, location);
  };
  walk(experiment, schema, catalog, visitors, missing);
  problems.finish();
  return experiment;
}

std::vector<ReadPath> paths_read(const Value& experiment, const ComponentCatalog& catalog) {
  std::vector<ReadPath> result;
  const auto add = [&](const std::string& path, const Location& location) {
    if (!path.empty()) result.push_back({path, location});
  };
  Visitors visitors;
  visitors.value = [&](const Value& value, const OptionSpec& spec, const Location& location) {
    if (spec.must_exist && value.is_string()) add(value.as_string(), location);
  };
  walk(experiment, host_schema(), catalog, visitors);
  if (const Value* starts = experiment.find("init")) {
    for (const Value& start : starts->as_array()) {
      add(start.find("from")->as_string(), start.find("from")->location());
    }
  }
  return result;
}

void check_before_training(const Value& experiment, const ComponentCatalog& catalog) {
  Problems problems;
  add_unwritable(experiment, catalog, problems);
  for (const VoidOption& option : void_options(experiment, catalog)) {
    if (option.is_overridden) {
      report_void_option(option);
    } else {
      problems.add(option.location, option.message);
    }
  }
  for (const auto& [path, location] : paths_read(experiment, catalog)) {
    std::error_code error;
    if (fs::exists(path, error)) continue;
    std::error_code ignored;
    if (!error && fs::is_symlink(path, ignored)) {
      const std::string target = fs::read_symlink(path, ignored).string();
      problems.add(location, text(quoted(path, kLongestPathShown), " is a link to ", quoted(target, kLongestPathShown),
                                  ", which does not exist"));
      continue;
    }
    const std::string why = error ? text("cannot be looked at: ", error.message()) : "does not exist";
    const std::string near = near_path(path);
    problems.add(location, text(quoted(path, kLongestPathShown), " ", why,
                                near.empty() ? "" : text("; did you mean ", quoted(near, kLongestPathShown), "?")));
  }
  const Value& run = *experiment.find("run");
  const auto options = read_options<RunOptions>(run);
  if (options.device == "cpu" && options.precision == Precision::fp16) {
    problems.add(run.find("precision")->location(),
                 "fp16 is for CUDA, and run.device is \"cpu\"; use \"bf16\" or \"fp32\"");
  }
  problems.finish();
}

}  // namespace casdm
