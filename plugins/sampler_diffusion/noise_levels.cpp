#include "noise_levels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "timesteps.h"

namespace casdm::sampler_diffusion {
namespace {

/// The noise-to-signal ratios by which levels are chosen.
class Ratios {
 public:
  explicit Ratios(const NoiseScheduler& schedule) : schedule_(schedule), times_(schedule.range()) {}

  double least() const { return schedule_.level(times_.first).ratio(); }
  double most() const { return schedule_.level(times_.last).ratio(); }
  SampledLevel clean() const { return {{times_.clean, 1, 0}}; }

  /// The level at `t`; between timesteps the ratio is linear in t.
  SampledLevel at_time(double t) const {
    if (!times_.is_whole) return {schedule_.level(t)};
    const double below = std::floor(t);
    const double part = t - below;
    const double low = schedule_.level(below).ratio();
    return of_ratio(t, part == 0 ? low : (1 - part) * low + part * schedule_.level(below + 1).ratio());
  }

  /// The level with noise-to-signal ratio `ratio`, at the corresponding time.
  SampledLevel at_ratio(double ratio) const {
    const double t = schedule_.time_at(at::full({}, -2 * std::log(ratio), at::kDouble)).item<double>();
    return times_.is_whole ? of_ratio(t, ratio) : SampledLevel{schedule_.level(t)};
  }

 private:
  /// On a variance-preserving path, the ratio determines both signal and noise; on any other, the path gives the signal
  /// at t.
  SampledLevel of_ratio(double t, double ratio) const {
    const bool is_between = t != std::floor(t);
    if (!preserves_variance(std::floor(t)) || !preserves_variance(std::ceil(t))) {
      const NoiseLevel level = schedule_.level(t);
      return {{t, level.alpha, std::isinf(ratio) ? level.sigma : ratio * level.alpha}, is_between};
    }
    const double alpha = std::isinf(ratio) ? 0 : 1 / std::hypot(1, ratio);
    return {{t, alpha, std::isinf(ratio) ? 1 : ratio * alpha}, is_between};
  }

  bool preserves_variance(double t) const {
    constexpr double kRounding = 1e-9;
    const NoiseLevel level = schedule_.level(t);
    return std::abs(std::hypot(level.alpha, level.sigma) - 1) < kRounding;
  }

  const NoiseScheduler& schedule_;
  TimeRange times_;
};

/// Karras et al. 2022, equation 5.
std::vector<SampledLevel> karras_levels(const Ratios& ratios, const NoiseLevelOptions& options) {
  const double least = ratios.least();
  const double most = ratios.most();
  if (std::isinf(most) && options.sigma_max <= 0) {
    throw ConfigError(
        "spacing = \"karras\" needs a finite sigma, but the noise schedule ends in pure noise; set sigma_max, use "
        "\"trailing\", or a schedule that ends before (rescale_zero_terminal_snr or t_max of [noise])");
  }
  const double low = options.sigma_min > 0 ? options.sigma_min : least;
  const double high = options.sigma_max > 0 ? options.sigma_max : most;
  if (!(least <= low && low < high && high <= most)) {
    throw ConfigError(text("sigma from ", low, " to ", high, " must rise within ", least, "..", most,
                           ", what the noise schedule has"));
  }
  const std::int64_t count = options.num_inference_steps;
  const double from = std::pow(high, 1 / options.rho);
  const double to = std::pow(low, 1 / options.rho);
  std::vector<SampledLevel> levels;
  for (std::int64_t i = 0; i < count; ++i) {
    const double part = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0.0;
    double ratio = std::pow(from + part * (to - from), options.rho);
    if (i == 0) ratio = high;
    if (i > 0 && i == count - 1) ratio = low;
    constexpr double kRounding = 1e-3;
    if (!(ratio > low * (1 - kRounding) && ratio < high * (1 + kRounding))) {
      throw ConfigError(text("rho = ", number(options.rho), " is too ", options.rho < 1 ? "small" : "large",
                             " to spread levels between sigma = ", number(low), " and ", number(high), "; 7 is usual"));
    }
    levels.push_back(ratios.at_ratio(ratio));
  }
  return levels;
}

/// Throws ConfigError if an option of karras is set together with another spacing.
void refuse_options_of_karras(const NoiseLevelOptions& options) {
  const bool has_rho = options.rho != NoiseLevelOptions().rho;
  if (!has_rho && options.sigma_min == 0 && options.sigma_max == 0) return;
  throw ConfigError(text(has_rho                  ? "rho"
                         : options.sigma_min != 0 ? "sigma_min"
                                                  : "sigma_max",
                         " belongs to spacing = \"karras\" and does nothing beside \"", to_string(options.spacing),
                         "\"; leave one of them out"));
}

/// The timestep spacing for a level spacing other than karras.
Spacing over_timesteps(LevelSpacing spacing) {
  if (spacing == LevelSpacing::leading) return Spacing::leading;
  return spacing == LevelSpacing::linspace ? Spacing::linspace : Spacing::trailing;
}

/// Timesteps from the noisiest down.
std::vector<double> descending_times(const NoiseScheduler& schedule, const NoiseLevelOptions& options, LevelGrid grid) {
  const std::int64_t count = options.num_inference_steps;
  const Spacing spacing = over_timesteps(options.spacing);
  if (!schedule.range().is_whole) return continuous_times(schedule.range(), count, spacing);
  const std::int64_t total = schedule.num_train_timesteps();
  std::vector<double> times;
  if (spacing == Spacing::linspace && grid == LevelGrid::fractional && count > 1 && count <= total) {
    const double gap = static_cast<double>(total - 1) / static_cast<double>(count - 1);
    for (std::int64_t i = count - 1; i > 0; --i) times.push_back(std::min(static_cast<double>(i) * gap, total - 1.0));
    times.push_back(0);
    return times;
  }
  const bool skips_zero = grid == LevelGrid::whole && spacing != Spacing::trailing;
  if (skips_zero && count >= total) {
    throw ConfigError(text("num_inference_steps = ", count, " with spacing = \"", to_string(spacing),
                           "\" must be below ", total,
                           ", the number of timesteps of the noise schedule: the one at t = 0 is left out"));
  }
  const auto timesteps = spaced_timesteps(total, skips_zero ? count + 1 : count, spacing);
  times.assign(timesteps.rbegin(), timesteps.rend());
  if (skips_zero) times.pop_back();
  return times;
}

}  // namespace

std::vector<SampledLevel> noise_levels(const NoiseScheduler& schedule, const NoiseLevelOptions& options,
                                       LevelGrid grid) {
  const Ratios ratios(schedule);
  std::vector<SampledLevel> levels;
  if (options.spacing == LevelSpacing::karras) {
    levels = karras_levels(ratios, options);
  } else {
    refuse_options_of_karras(options);
    for (const double t : descending_times(schedule, options, grid)) levels.push_back(ratios.at_time(t));
  }
  levels.push_back(ratios.clean());
  return levels;
}

double initial_noise(const NoiseScheduler& schedule, const NoiseLevelOptions& options, const NoiseLevel& first) {
  const bool begins_below = options.spacing == LevelSpacing::karras && options.sigma_max > 0;
  return begins_below ? first.sigma : schedule.prior_std();
}

Tensor clean_image_at(const SampledLevel& level, const CleanImage& clean_image, const StepInput& input, double scale) {
  if (!level.is_between_timesteps) return clean_image(input.estimate);
  return clean_image.between_timesteps(input.estimate, input.x_t / scale, level.ratio());
}

std::vector<SampleStep> plan_of(const std::vector<SampledLevel>& levels, bool draws_noise) {
  std::vector<SampleStep> plan;
  for (std::size_t i = 0; i + 1 < levels.size(); ++i) {
    const bool is_last = i + 2 == levels.size();
    plan.push_back({levels[i].t, levels[i + 1].t, draws_noise && !is_last});
  }
  return plan;
}

}  // namespace casdm::sampler_diffusion
