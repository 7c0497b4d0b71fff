#include "noise_levels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "timesteps.h"

namespace casdm::sampler_diffusion {
namespace {

/// The level whose noise-to-signal ratio is `ratio`.
NoiseLevel level_of(double t, double ratio) {
  if (std::isinf(ratio)) return {t, 0, 1};
  const double alpha = 1 / std::hypot(1, ratio);
  return {t, alpha, ratio * alpha};
}

std::vector<double> ratios_of(const NoiseScheduler& schedule) {
  std::vector<double> ratios;
  for (const double a : schedule.alphas_cumprod()) ratios.push_back(std::sqrt((1 - a) / a));
  return ratios;
}

/// `table` at the fractional index t.
double interpolate(const std::vector<double>& table, double t) {
  const auto below = static_cast<std::size_t>(t);
  const double part = t - static_cast<double>(below);
  return part == 0 ? table[below] : (1 - part) * table[below] + part * table[below + 1];
}

/// The fractional timestep at which the logarithm of `ratios`, linear in between, is log(ratio).
double timestep_of(const std::vector<double>& ratios, double ratio) {
  const auto above = std::lower_bound(ratios.begin(), ratios.end(), ratio);
  if (above == ratios.begin()) return 0;
  if (above == ratios.end()) return static_cast<double>(ratios.size() - 1);
  const auto index = static_cast<double>(above - ratios.begin());
  const double gap = std::log(*above) - std::log(*(above - 1));
  return index - (std::log(*above) - std::log(ratio)) / gap;
}

/// Karras et al. 2022, equation 5.
std::vector<NoiseLevel> karras_levels(const std::vector<double>& ratios, const NoiseLevelOptions& options) {
  const double least = ratios.front();
  const double most = ratios.back();
  if (std::isinf(most)) {
    throw ConfigError(
        "spacing = \"karras\" needs a finite sigma, but the schedule ends in pure noise (A_T = 0); "
        "use \"trailing\", or a schedule without rescale_zero_terminal_snr");
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
  std::vector<NoiseLevel> levels;
  for (std::int64_t i = 0; i < count; ++i) {
    const double part = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0.0;
    double ratio = std::pow(from + part * (to - from), options.rho);
    if (i == 0) ratio = high;
    if (i > 0 && i == count - 1) ratio = low;
    levels.push_back(level_of(timestep_of(ratios, ratio), ratio));
  }
  return levels;
}

/// Timesteps from the noisiest down.
std::vector<double> descending_times(std::int64_t total, const NoiseLevelOptions& options, LevelGrid grid) {
  const std::int64_t count = options.num_inference_steps;
  std::vector<double> times;
  if (options.spacing == "linspace" && grid == LevelGrid::fractional && count > 1 && count <= total) {
    const double gap = static_cast<double>(total - 1) / static_cast<double>(count - 1);
    for (std::int64_t i = count - 1; i > 0; --i) times.push_back(std::min(static_cast<double>(i) * gap, total - 1.0));
    times.push_back(0);
    return times;
  }
  const bool skips_zero = grid == LevelGrid::whole && options.spacing != "trailing";
  if (skips_zero && count >= total) {
    throw ConfigError(text("num_inference_steps = ", count, " with spacing = \"", options.spacing, "\" must be below ",
                           total, ", the number of timesteps of the noise schedule: the one at t = 0 is left out"));
  }
  const auto timesteps = spaced_timesteps(total, skips_zero ? count + 1 : count, options.spacing);
  times.assign(timesteps.rbegin(), timesteps.rend());
  if (skips_zero) times.pop_back();
  return times;
}

}  // namespace

double NoiseLevel::log_ratio() const { return std::log(alpha) - std::log(sigma); }

std::vector<std::string> level_spacing_names() { return {"karras", "leading", "linspace", "trailing"}; }

std::vector<NoiseLevel> noise_levels(const NoiseScheduler& schedule, const NoiseLevelOptions& options, LevelGrid grid) {
  const std::vector<double> ratios = ratios_of(schedule);
  std::vector<NoiseLevel> levels;
  if (options.spacing == "karras") {
    levels = karras_levels(ratios, options);
  } else {
    for (const double t : descending_times(schedule.num_train_timesteps(), options, grid)) {
      levels.push_back(level_of(t, interpolate(ratios, t)));
    }
  }
  levels.push_back({-1, 1, 0});
  return levels;
}

Tensor clean_image_at(const NoiseLevel& level, const CleanImage& clean_image, const StepInput& input, double scale) {
  const bool is_timestep = level.t == std::floor(level.t);
  if (is_timestep) return clean_image(input.estimate);
  return clean_image.between_timesteps(input.estimate, input.x_t / scale, level.ratio());
}

std::vector<SampleStep> plan_of(const std::vector<NoiseLevel>& levels, bool draws_noise) {
  std::vector<SampleStep> plan;
  for (std::size_t i = 0; i + 1 < levels.size(); ++i) {
    const bool is_last = i + 2 == levels.size();
    plan.push_back({levels[i].t, levels[i + 1].t, draws_noise && !is_last});
  }
  return plan;
}

}  // namespace casdm::sampler_diffusion
