#include "framework/cost/precision_choice.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <vector>

#include "casdm/error.h"
#include "casdm/stamp.h"
#include "casdm/text.h"
#include "casdm/user_folder.h"
#include "framework/config/overrides.h"
#include "framework/cost/trial.h"
#include "framework/device/device.h"
#include "framework/device/threads.h"
#include "framework/loading/libtorch.h"
#include "framework/support/files.h"
#include "framework/support/machine.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

namespace fs = std::filesystem;

constexpr double kLeastGain = 1.03;
constexpr double kLongest = 10;  // seconds of measuring, after a warm-up
constexpr std::size_t kEnough = 7;
constexpr std::size_t kFewest = 2;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

std::int64_t part_images(const TrainOptions& train) {
  const BatchShare share = share_of_batch(train, World::alone());
  return share.count / share.parts;
}

/// Of a metric's weight, only whether it is 0 changes what is computed. Any other number may: a factor of a network's
/// width, the share of the images that a metric sees.
Value without_weights(const Value& metrics) {
  Value::Array kept;
  for (Value metric : metrics.as_array()) {
    metric.set("weight", metric.find("weight")->as_number() > 0);
    kept.push_back(std::move(metric));
  }
  return kept;
}

/// Everything that the rates depend on.
Value key_of(const LoadedExperiment& experiment) {
  RunOptions run = experiment.options.run;
  run.precision = Precision::fp32;
  Value key{Value::Table{}};
  key.set("processor", processor());
  key.set("device", select_device(run).description);
  key.set("libtorch", loaded_libtorch().version);
  key.set("threads", run.threads > 0 ? run.threads : usable_cpus());
  key.set("deterministic", run.deterministic);
  Value::Array builds;
  for (const FoundPlugin& plugin : experiment.host->catalog().plugins()) builds.emplace_back(plugin.build_id);
  key.set("plugins", std::move(builds));
  key.set("images", part_images(experiment.options.train));
  key.set("image_size", experiment.options.data.image_size);
  key.set("channels", experiment.options.data.channels);
  key.set("use_labels", experiment.options.data.use_labels);
  for (const char* table : {"head", "metrics", "augmentation", "noise", "timesteps"}) {
    const Value* part = experiment.resolved.find(table);
    if (part != nullptr) key.set(table, part->is_array() ? without_weights(*part) : *part);
  }
  return key;
}

std::optional<fs::path> file_of(const Value& key) {
  const auto cache = user_folder(UserFolder::cache);
  return cache ? std::optional(*cache / "precision" / (sha256(to_json(key)) + ".json")) : std::nullopt;
}

std::optional<PrecisionRates> read_rates(const Value& key) {
  const auto file = file_of(key);
  std::error_code ignored;
  if (!file || !fs::exists(*file, ignored)) return std::nullopt;
  try {
    const Value record = from_json(read_file(*file));
    const Value *fp32 = record.find("fp32"), *bf16 = record.find("bf16");
    if (fp32 != nullptr && bf16 != nullptr) return PrecisionRates{fp32->as_number(), bf16->as_number()};
  } catch (const Error&) {  // a damaged record counts as none
  }
  return std::nullopt;
}

void write_rates(const Value& key, const PrecisionRates& rates) {
  const auto file = file_of(key);
  if (!file) return;
  try {
    fs::create_directories(file->parent_path());
    Value record{Value::Table{}};
    record.set("fp32", rates.fp32);
    record.set("bf16", rates.bf16);
    record.set("key", key);
    write_file(*file, to_json(record, 1) + "\n");
  } catch (const std::exception&) {  // without a record, the next run measures again
  }
}

/// Steps in both precisions by turns, so that a machine that becomes slower does so for both.
PrecisionRates measure(LoadedExperiment experiment) {
  experiment.options.run.precision = Precision::fp32;  // a device is set up for it
  Trial trial(experiment);
  const auto both = {Precision::fp32, Precision::bf16};
  double one = 0;
  for (const Precision precision : both) one += trial.step(1, precision);
  const auto by_time = static_cast<std::int64_t>(kLongest / (static_cast<double>(kFewest + 1) * one));
  const std::int64_t images = std::clamp(by_time, std::int64_t{1}, part_images(experiment.options.train));
  std::vector<double> fp32, bf16;
  for (const Precision precision : both) trial.step(images, precision);
  for (double passed = 0; fp32.size() < kFewest || (fp32.size() < kEnough && passed < kLongest);) {
    fp32.push_back(trial.step(images, Precision::fp32));
    bf16.push_back(trial.step(images, Precision::bf16));
    passed += fp32.back() + bf16.back();
  }
  const auto count = static_cast<double>(images);
  return {count / median(fp32), count / median(bf16)};
}

std::string both(const PrecisionRates& rates) {
  return text(three_digits(rates.fp32), " images/s in fp32, ", three_digits(rates.bf16), " in bf16");
}

Precision choose(const LoadedExperiment& experiment) {
  RunOptions run = experiment.options.run;
  run.precision = Precision::fp32;
  if (!has_bf16_products(select_device(run).device)) {
    std::cerr << "run.precision = \"auto\": fp32, since this device has no bf16 products\n";
    return Precision::fp32;
  }
  std::optional<PrecisionRates> rates = known_rates(experiment);
  const bool is_known = rates.has_value();
  if (!is_known) std::cerr << "run.precision = \"auto\": measuring fp32 and bf16, once for these networks\n";
  if (!is_known) rates = measured_rates(experiment);
  std::cerr << "run.precision = \"auto\": " << to_string(rates->faster()) << " (" << both(*rates)
            << (is_known ? ", measured earlier" : "") << ")\n";
  return rates->faster();
}

void report_slow_bf16(const LoadedExperiment& experiment) {
  const std::optional<PrecisionRates> rates = known_rates(experiment);
  if (!rates || rates->bf16 >= rates->fp32) return;
  std::cerr << "run.precision = \"bf16\" is slower than fp32 here: " << both(*rates) << '\n';
}

}  // namespace

Precision PrecisionRates::faster() const { return bf16 > kLeastGain * fp32 ? Precision::bf16 : Precision::fp32; }

std::optional<PrecisionRates> known_rates(const LoadedExperiment& experiment) { return read_rates(key_of(experiment)); }

PrecisionRates measured_rates(const LoadedExperiment& experiment) {
  const PrecisionRates rates = measure(experiment);
  write_rates(key_of(experiment), rates);
  return rates;
}

LoadedExperiment with_chosen_precision(LoadedExperiment experiment, World& world) {
  Precision& precision = experiment.options.run.precision;
  if (precision == Precision::bf16 && world.is_first()) report_slow_bf16(experiment);
  if (precision != Precision::automatic) return experiment;
  std::string chosen;
  world.on_first([&] { chosen = to_string(choose(experiment)); });
  chosen = world.take_from_first(chosen);
  apply_overrides(experiment.resolved, {"run.precision=" + chosen});
  precision = chosen == to_string(Precision::bf16) ? Precision::bf16 : Precision::fp32;
  return experiment;
}

}  // namespace casdm
