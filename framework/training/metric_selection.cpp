#include "framework/training/metric_selection.h"

#include <ATen/ATen.h>

#include <utility>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/loading/plugin_call.h"

namespace casdm {

namespace {

constexpr std::int64_t kTimesLookedAt = 4097;

std::string shown(const std::array<double, 2>& ends) { return text('[', number(ends[0]), ", ", number(ends[1]), ']'); }

Tensor within(const Tensor& value, const std::array<double, 2>& range) {
  return value.ge(range[0]).logical_and(value.le(range[1]));
}

/// All times of a discrete path; for a continuous one many, evenly spaced in t and in log SNR.
Tensor times_of(const NoiseScheduler& schedule) {
  const TimeRange range = schedule.range();
  if (range.is_whole) return at::arange(range.first, range.last + 1, at::kDouble);
  const Tensor by_t = at::linspace(range.first, range.last, kTimesLookedAt, at::kDouble);
  const Tensor ends = schedule.log_snr(at::tensor({range.first, range.last}, at::kDouble)).clamp(-60, 60);
  const Tensor by_noise = at::linspace(ends[0].item<double>(), ends[1].item<double>(), kTimesLookedAt, at::kDouble);
  return at::cat({by_t, schedule.time_at(by_noise)});
}

}  // namespace

Tensor amount_of_noise(NoiseUnit unit, const NoiseScheduler& schedule, const Tensor& t) {
  if (unit == NoiseUnit::t_fraction) {
    const TimeRange range = schedule.range();
    return (t.to(at::kDouble) - range.clean) / (range.last - range.clean);
  }
  if (unit == NoiseUnit::log_snr) return schedule.log_snr(t);
  const Tensor alpha = schedule.alpha(t), sigma = schedule.sigma(t);
  return sigma / (alpha + sigma);
}

MetricSelection::MetricSelection(const MetricOptions& options, std::string name, const NoiseScheduler& schedule)
    : options_(options), name_(std::move(name)), schedule_(schedule) {
  require_times();
}

void MetricSelection::require_times() const {
  const Tensor times = times_of(schedule_);
  if (in_range(times).any().item<bool>()) return;
  std::vector<std::string> ranges, ends;
  const auto add = [&](const char* key, NoiseUnit unit, const std::array<double, 2>& range) {
    ranges.push_back(text(key, " = ", shown(range)));
    const auto [least, most] = at::aminmax(amount_of_noise(unit, schedule_, times));
    ends.push_back(text(to_string(unit), " from ", number(least.item<double>()), " to ", number(most.item<double>())));
  };
  if (options_.t_range != MetricOptions().t_range) add("t_range", NoiseUnit::t_fraction, options_.t_range);
  if (options_.noise_range) add("noise_range", *options_.noise_unit, *options_.noise_range);
  throw ConfigError(text(error_prefix(options_.metric), "no timestep falls into ", join(ranges, " and "),
                         " of metric '", name_, "'; this path has ", join(ends, " and "), "; expected a wider range"));
}

bool MetricSelection::is_due(std::int64_t step, std::int64_t images_seen) const {
  if (options_.until_images > 0 && images_seen >= options_.until_images) return false;
  return options_.every == 1 || (step - 1) % options_.every == 0;
}

bool MetricSelection::is_of_all() const {
  return options_.t_range == MetricOptions().t_range && !options_.noise_range && options_.share == 1;
}

Tensor MetricSelection::in_range(const Tensor& t) const {
  Tensor result = at::ones(t.sizes(), at::kBool);
  if (options_.t_range != MetricOptions().t_range) {
    result = within(amount_of_noise(NoiseUnit::t_fraction, schedule_, t), options_.t_range);
  }
  if (options_.noise_range) {
    result = result.logical_and(within(amount_of_noise(*options_.noise_unit, schedule_, t), *options_.noise_range));
  }
  return result;
}

Tensor MetricSelection::chosen(const Tensor& t, const std::vector<std::uint64_t>& seeds) const {
  Tensor result = in_range(t);
  if (options_.share == 1 || seeds.empty()) return result;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    if (uniform(derive_seed(seeds[i], "share/" + name_)) >= options_.share) {
      result[static_cast<std::int64_t>(i)].fill_(false);
    }
  }
  return result;
}

double MetricSelection::gradient_factor(double chosen, double images) const {
  if (options_.mean == MetricMean::batch) return 1 / options_.share;
  return chosen == 0 ? 1.0 : images / chosen;
}

}  // namespace casdm
