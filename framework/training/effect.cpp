#include "framework/training/effect.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/problems.h"
#include "framework/support/number_format.h"
#include "framework/training/average_rule.h"
#include "framework/training/learning_rate.h"

namespace casdm {

namespace {

/// A smaller rate is lost in the rounding of nearly every float32 weight.
constexpr double kLeastLearningRate = 1e-10;

/// The share of the initial weights, in 0..1, that an average still has after the training. Only rules that keep the
/// same share at every step keep any: the others forget nearly all of them in the first step.
double share_of_start(const AverageRule& rule, const TrainOptions& train) {
  const double kept = rule.keep({1, train.batch_size, train.batch_size});
  return std::pow(kept, std::ceil(static_cast<double>(train.total_images) / static_cast<double>(train.batch_size)));
}

double part_of(std::int64_t total, std::int64_t warmup) {
  return static_cast<double>(total) / static_cast<double>(warmup);
}

/// The key that makes the average at this index slow.
std::string key_of_average(const EmaOptions& ema, std::size_t index) {
  const std::string table = index == 0 ? "ema" : text("ema.also.", index - 1);
  const bool is_half_life = index == 0 ? ema.half_life > 0 : ema.also[index - 1].half_life.has_value();
  return table + (is_half_life ? ".half_life" : ".decay");
}

/// Finds given numbers, of the host or any component, that become 0 or infinite in float32.
void find_lost(const Value& value, const std::string& path, Problems& problems) {
  if (value.is_table()) {
    for (const auto& [key, member] : value.as_table()) find_lost(member, key_path(path, key), problems);
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      find_lost(value.as_array()[i], text(path, '.', i), problems);
    }
  } else if (value.is_floating()) {
    const double given = value.as_number();
    const bool is_lost = given != 0 && static_cast<float>(given) == 0;
    const bool is_too_large = std::isfinite(given) && std::abs(given) > std::numeric_limits<float>::max();
    Location location = value.location();
    if (!(is_lost || is_too_large) || location.file.empty()) return;  // without a file it is a default
    location.key = path;
    problems.add(location, text(number(given), " is ", is_lost ? "0" : "infinite",
                                " in float32, the training's arithmetic; expected a ", is_lost ? "larger" : "smaller",
                                " number"));
  }
}

/// The highest learning rate of a training in which `wsd` begins to fall before the warm-up has ended.
double highest_rate(const OptimizerOptions& optimizer, std::int64_t total) {
  constexpr std::int64_t kParts = 1000;
  double highest = 0;
  for (std::int64_t i = 0; i <= kParts; ++i) {
    const auto images = static_cast<std::int64_t>(static_cast<double>(total) / kParts * static_cast<double>(i));
    highest = std::max(highest, learning_rate(optimizer, images, total));
  }
  return highest;
}

/// Checks the learning rate of [optimizer], or of one of its tables with its own schedule.
void find_weak_rate(const OptimizerOptions& optimizer, const std::string& table, std::int64_t total,
                    std::vector<std::string>& found) {
  if (optimizer.warmup_images > total) {
    found.push_back(text(table, ".warmup_images is longer than train.total_images = ", total,
                         ": the learning rate rises to ",
                         number(optimizer.learning_rate * part_of(total, optimizer.warmup_images)), " of ",
                         number(optimizer.learning_rate)));
  }
  const std::int64_t decay = optimizer.decay_images > 0 ? optimizer.decay_images.value : total / 5;
  if (optimizer.schedule == RateSchedule::wsd && optimizer.warmup_images <= total &&
      optimizer.warmup_images > total - decay) {
    found.push_back(text(table, ".warmup_images ends after \"wsd\" begins to fall, at ", total - decay,
                         " images: the learning rate rises to ", significant(highest_rate(optimizer, total)), " of ",
                         number(optimizer.learning_rate)));
  }
  if (optimizer.learning_rate < kLeastLearningRate) {
    found.push_back(text(table, ".learning_rate = ", number(optimizer.learning_rate),
                         " is lost in the rounding of float32: hardly any weight will change"));
  }
}

}  // namespace

void require_effect(const Value& experiment) {
  const Experiment options = read_options<Experiment>(experiment);
  Problems problems;
  find_lost(experiment, "", problems);
  const std::vector<AverageRule> averages = average_rules(options.ema);
  for (std::size_t i = 0; i < averages.size(); ++i) {
    if (averages[i].keep({1, options.train.batch_size, options.train.batch_size}) < 1) continue;
    problems.add_at(experiment, key_of_average(options.ema, i),
                    text("the average ", quoted(averages[i].name()), " would keep the initial weights forever; ",
                         "expected a smaller value, or ", averages[i].remedy()));
  }
  if (options.data.use_labels && options.data.label_dropout == 1) {
    problems.add_at(experiment, "data.label_dropout",
                    "every label would be dropped, and none learned; expected less than 1 (0.1 is usual), or "
                    "data.use_labels = false");
  }
  std::map<std::string, std::size_t> modules;
  for (std::size_t i = 0; i < options.init.size(); ++i) {
    const auto [first, is_new] = modules.try_emplace(options.init[i].module, i);
    if (is_new) continue;
    problems.add_at(experiment, text("init.", i, ".module"),
                    text("init.", first->second, " is of the module ", quoted(first->first),
                         ", too, and its weights would be overwritten; expected one [[init]] for each module"));
  }
  problems.finish();
}

std::vector<std::string> weak_settings(const Experiment& options) {
  std::vector<std::string> found;
  const TrainOptions& train = options.train;
  const OptimizerOptions& optimizer = options.optimizer;
  const auto total = static_cast<std::int64_t>(train.total_images);
  if (total < train.batch_size) {
    found.push_back(text("train.total_images = ", total, " is less than train.batch_size = ", train.batch_size,
                         ": the training is a single step"));
  }
  find_weak_rate(optimizer, "optimizer", total, found);
  for (const std::string& module : optimizer.modules()) {
    const OptimizerOptions own = optimizer.of(module);
    const bool is_same = own.learning_rate == optimizer.learning_rate && own.warmup_images == optimizer.warmup_images &&
                         own.schedule == optimizer.schedule && own.decay_images == optimizer.decay_images;
    if (!is_same) find_weak_rate(own, key_path("optimizer", module), total, found);
  }
  for (std::size_t i = 0; i < options.metrics.size(); ++i) {
    const MetricOptions& metric = options.metrics[i];
    if (metric.weight > 0 && metric.until_images > 0 && metric.until_images < metric.warmup_images) {
      found.push_back(text("metrics.", i, ".until_images ends the metric before its warm-up does: its weight rises to ",
                           significant(metric.weight * part_of(metric.until_images, metric.warmup_images)), " of ",
                           number(metric.weight)));
    }
    const std::int64_t seen = metric.until_images > 0 ? std::min<std::int64_t>(metric.until_images, total) : total;
    const double part = static_cast<double>(seen) / static_cast<double>(metric.every) * metric.share;
    if (part < 1) {
      std::vector<std::string> keys;
      if (metric.share < 1) keys.push_back(text("share = ", number(metric.share)));
      if (metric.every > 1) keys.push_back(text("every = ", metric.every));
      found.push_back(text("metrics.", i, ".", join(keys, " and "), ": hardly any of the ", seen,
                           " images is drawn for the metric, ", number(part), " on average"));
    }
    if (metric.weight == 0 || metric.warmup_images <= total) continue;
    found.push_back(text("metrics.", i, ".warmup_images is longer than train.total_images = ", total,
                         ": the weight of the metric rises to ",
                         significant(metric.weight * part_of(total, metric.warmup_images)), " of ",
                         number(metric.weight)));
  }
  const std::vector<AverageRule> averages = average_rules(options.ema);
  for (std::size_t i = 0; i < averages.size(); ++i) {
    const double share = share_of_start(averages[i], train);
    if (share < 0.5) continue;
    found.push_back(text(key_of_average(options.ema, i), ": at the end of the training the average ",
                         quoted(averages[i].name()), " still consists of ",
                         static_cast<std::int64_t>(std::floor(100 * share)),
                         " % initial weights; take a smaller value, or ", averages[i].remedy()));
  }
  return found;
}

std::vector<std::string> idle_tables(const Model& model, const Experiment& options) {
  std::vector<std::string> found;
  const std::vector<std::string> tables = options.optimizer.modules();
  for (const NamedModule& module : model.modules) {
    if (module.is_trainable || std::find(tables.begin(), tables.end(), module.name) == tables.end()) continue;
    found.push_back(text("nothing in [optimizer.", module.name, "] has an effect: the head does not train module ",
                         module.name, "; leave the table out"));
  }
  return found;
}

}  // namespace casdm
