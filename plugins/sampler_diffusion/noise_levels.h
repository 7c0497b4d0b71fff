#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/options.h"
#include "casdm/sampler.h"
#include "clean_image.h"
#include "timesteps.h"

namespace casdm::sampler_diffusion {

/// A level that a sampler visits.
struct SampledLevel : NoiseLevel {
  /// Whether it is between timesteps of the schedule, at a ratio that the head's tables do not contain exactly.
  bool is_between_timesteps = false;
};

/// How levels are spaced: evenly in sigma^(1/rho), or over timesteps according to `Spacing`.
enum class LevelSpacing { karras, leading, linspace, trailing };

constexpr auto choices_of(LevelSpacing) {
  using enum LevelSpacing;
  return choices<LevelSpacing>(
      {{karras, "karras"}, {leading, "leading"}, {linspace, "linspace"}, {trailing, "trailing"}});
}

/// The levels that a sampler visits if it works in terms of noise levels.
struct NoiseLevelOptions : CleanImageOptions {
  std::int64_t num_inference_steps = 20;
  LevelSpacing spacing = LevelSpacing::karras;
  double rho = 7;
  double sigma_min = 0;
  double sigma_max = 0;
};

/// Declares them as T's own; T derives from NoiseLevelOptions.
template <class T>
void describe_noise_levels(Schema<T>& s, const std::string& steps_doc) {
  s.template option<std::int64_t>("num_inference_steps", &T::num_inference_steps, steps_doc).range(1, kMostSteps);
  s.template option<LevelSpacing>(
      "spacing", &T::spacing,
      "How levels are spread: over the timesteps (leading, linspace, trailing, as diffusers has them for this "
      "sampler), or evenly in sigma^(1/rho) (karras, EDM).");
  s.template option<double>("rho", &T::rho, "karras: larger puts more levels at little noise.")
      .greater_than(0)
      .only_with("spacing", {"karras"});
  s.template option<double>("sigma_min", &T::sigma_min, "karras: last noise-to-signal ratio; 0: the schedule's least.")
      .at_least(0)
      .only_with("spacing", {"karras"});
  s.template option<double>("sigma_max", &T::sigma_max, "karras: first noise-to-signal ratio; 0: the schedule's most.")
      .at_least(0)
      .only_with("spacing", {"karras"});
}

/// How spacings over timesteps are interpreted.
enum class LevelGrid {
  /// Whole timesteps; leading and linspace distribute one level more and leave out the one at t = 0, since the final
  /// level without noise follows directly.
  whole,
  /// linspace is not rounded: equal, fractional steps from T-1 to 0.
  fractional,
};

/// The num_inference_steps + 1 levels from the noisiest to the clean image. Between timesteps, sigma/alpha (linspace)
/// or its logarithm (karras) is linear in t. On a path without whole timesteps every t is exact, trailing goes from its
/// last t to the clean image in equal steps and linspace from last to first. Throws ConfigError if the schedule does
/// not support them.
std::vector<SampledLevel> noise_levels(const NoiseScheduler& schedule, const NoiseLevelOptions& options,
                                       LevelGrid grid);

/// The standard deviation of the initial noise for a sampler in the path's own units: the path's, or that of the first
/// level if sigma_max makes it smaller.
double initial_noise(const NoiseScheduler& schedule, const NoiseLevelOptions& options, const NoiseLevel& first);

/// The clean image of an estimate made at `level`, where input.x_t is `scale` times x0 + sigma/alpha eps.
Tensor clean_image_at(const SampledLevel& level, const CleanImage& clean_image, const StepInput& input, double scale);

/// The plan that evaluates the model at every level but the last.
std::vector<SampleStep> plan_of(const std::vector<SampledLevel>& levels, bool draws_noise);

}  // namespace casdm::sampler_diffusion
