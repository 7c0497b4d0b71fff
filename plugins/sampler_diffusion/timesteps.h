#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/options.h"
#include "casdm/sampler.h"

namespace casdm::sampler_diffusion {

/// For the schemas: the maximum number of steps, and the name and form of a respacing.
inline constexpr double kMostSteps = 1e6;
inline constexpr const char* kTimestepsKey = "noise.num_train_timesteps";
inline constexpr const char* kRespacing = "timestep_respacing";
inline constexpr const char* kRespacingPattern = "(ddim)?[1-9][0-9]*|[1-9][0-9]*(,[1-9][0-9]*)+";

/// How timesteps are distributed over the diffusion: see `spaced_timesteps`.
enum class Spacing { leading, linspace, trailing };

constexpr auto choices_of(Spacing) {
  using enum Spacing;
  return choices<Spacing>({{leading, "leading"}, {linspace, "linspace"}, {trailing, "trailing"}});
}

/// `count` of the timesteps 0..total-1, rising. With s = total / count:
///   leading    0, floor(s), 2 floor(s), ...              as in diffusers; ends below total-1
///   linspace   round(i (total-1) / (count-1))            first and last are kept
///   trailing   round(total - i s) - 1, i = 0..count-1    the last is kept (Lin et al. 2024)
/// Halves round to even. Throws ConfigError when count is not in 1..total.
std::vector<std::int64_t> spaced_timesteps(std::int64_t total, std::int64_t count, Spacing spacing);

/// The timesteps that guided-diffusion's `timestep_respacing` keeps, rising:
///   "250"        round(i (total-1) / 249)
///   "10,15,20"   the schedule cut into three equal sections, with that many spread over each, ends included
///   "ddim50"     0, k, 2k, ... for the whole stride k that gives exactly 50
/// Throws ConfigError if it is none of these, if a section is shorter than its count, or if no whole stride gives the
/// number.
std::vector<std::int64_t> respaced_timesteps(std::int64_t total, const std::string& respacing);

/// `count` times of a path without whole timesteps, falling from `last`:
///   trailing   last + i (clean - last) / count
///   linspace   in equal steps to `first`
/// Throws ConfigError for leading, which would not start at `last`, and if there are more steps than times down to
/// `first`.
std::vector<double> continuous_times(const TimeRange& times, std::int64_t count, Spacing spacing);

/// The times, from the noisiest down, that a respacing keeps; if it is empty, `count` times of this spacing.
/// @param unset  the spacing of an experiment that does not choose one; ConfigError for another one together with a
///               respacing
std::vector<double> sampling_times(const NoiseScheduler& schedule, std::int64_t count, Spacing spacing, Spacing unset,
                                   const std::string& respacing);

/// Warns if a number of steps was chosen together with a respacing, which decides it.
/// @param unset  the number for an experiment that does not choose one
void warn_of_steps(std::int64_t count, std::int64_t unset, const std::string& respacing);

/// The plan of a sampler that evaluates each of `times` once and ends at the clean image.
/// @param draws_noise  whether the steps need noise; the last never does
std::vector<SampleStep> plan_of_times(const std::vector<double>& times, double clean, bool draws_noise);

}  // namespace casdm::sampler_diffusion
