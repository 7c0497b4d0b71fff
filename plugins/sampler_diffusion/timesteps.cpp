#include "timesteps.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>

#include "casdm/error.h"
#include "casdm/log.h"
#include "casdm/text.h"

namespace casdm::sampler_diffusion {
namespace {

using Timesteps = std::vector<std::int64_t>;

/// Rounds halves to even, like NumPy and Python.
std::int64_t rounded(double value) { return static_cast<std::int64_t>(std::nearbyint(value)); }

std::optional<std::int64_t> whole_number(const std::string& word) {
  if (word.empty() || word.size() > 9 || word.find_first_not_of("0123456789") != std::string::npos) return {};
  return std::stoll(word);
}

[[noreturn]] void refuse(const std::string& respacing, const std::string& why) {
  throw ConfigError(text("timestep_respacing = \"", respacing, "\": ", why));
}

/// The stride is added repeatedly, not multiplied, as in the reference: the two can round differently.
void append_section(Timesteps& timesteps, std::int64_t start, std::int64_t size, std::int64_t count) {
  const double stride = count > 1 ? static_cast<double>(size - 1) / static_cast<double>(count - 1) : 1.0;
  double position = 0;
  for (std::int64_t i = 0; i < count; ++i, position += stride) timesteps.push_back(start + rounded(position));
}

Timesteps whole_stride(std::int64_t total, std::int64_t count, const std::string& respacing) {
  for (std::int64_t stride = 1; stride <= total; ++stride) {
    if ((total + stride - 1) / stride != count) continue;
    Timesteps timesteps;
    for (std::int64_t t = 0; t < total; t += stride) timesteps.push_back(t);
    return timesteps;
  }
  refuse(respacing, text("no whole stride keeps exactly ", count, " of ", total,
                         " timesteps; use num_inference_steps with a spacing, which takes any number"));
}

}  // namespace

Timesteps spaced_timesteps(std::int64_t total, std::int64_t count, Spacing spacing) {
  if (count < 1 || count > total) {
    throw ConfigError(text("num_inference_steps = ", count, " is not in 1..", total,
                           ", the number of timesteps of the noise schedule"));
  }
  const double stride = static_cast<double>(total) / static_cast<double>(count);
  Timesteps timesteps;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto position = static_cast<double>(i);
    if (spacing == Spacing::leading) {
      timesteps.push_back(i * (total / count));
    } else if (spacing == Spacing::trailing) {
      timesteps.push_back(rounded(static_cast<double>(total) - static_cast<double>(count - 1 - i) * stride) - 1);
    } else {
      const double gap = count > 1 ? static_cast<double>(total - 1) / static_cast<double>(count - 1) : 0.0;
      timesteps.push_back(rounded(position * gap));
    }
  }
  return timesteps;
}

Timesteps respaced_timesteps(std::int64_t total, const std::string& respacing) {
  if (respacing.starts_with("ddim")) {
    const auto count = whole_number(respacing.substr(4));
    if (!count || *count < 1) refuse(respacing, "expected a number after \"ddim\", as in \"ddim50\"");
    return whole_stride(total, *count, respacing);
  }
  std::vector<std::int64_t> counts;
  std::istringstream given(respacing);
  for (std::string word; std::getline(given, word, ',');) {
    const auto count = whole_number(word);
    if (!count || *count < 1) refuse(respacing, "expected \"50\", \"ddim50\" or numbers with commas like \"10,15,20\"");
    counts.push_back(*count);
  }
  if (counts.empty() || respacing.ends_with(',')) refuse(respacing, "a number is missing");

  const auto sections = static_cast<std::int64_t>(counts.size());
  Timesteps timesteps;
  std::int64_t start = 0;
  for (std::int64_t i = 0; i < sections; ++i) {
    const std::int64_t size = total / sections + (i < total % sections ? 1 : 0);
    const std::int64_t count = counts[static_cast<std::size_t>(i)];
    if (count > size) refuse(respacing, text("cannot keep ", count, " of the ", size, " timesteps of section ", i));
    append_section(timesteps, start, size, count);
    start += size;
  }
  return timesteps;
}

std::vector<double> continuous_times(const TimeRange& times, std::int64_t count, Spacing spacing) {
  if (spacing == Spacing::leading) {
    throw ConfigError(
        "spacing = \"leading\" counts whole timesteps, which this noise schedule does not have; use \"trailing\" or "
        "\"linspace\"");
  }
  const bool is_trailing = spacing == Spacing::trailing;
  const double end = is_trailing ? times.clean : times.first;
  const auto intervals = static_cast<double>(is_trailing ? count : std::max<std::int64_t>(count - 1, 1));
  std::vector<double> result;
  for (std::int64_t i = 0; i < count; ++i) {
    result.push_back(times.last + static_cast<double>(i) * ((end - times.last) / intervals));
  }
  // The last time is exactly the path's end if it should be, whatever the rounding.
  const double length = times.last - times.first;
  const double beyond = (times.first - result.back()) / length;
  constexpr double kRounding = 1e-9;
  if (std::abs(beyond) < kRounding) result.back() = times.first;
  if (beyond < kRounding) return result;
  const auto most =
      static_cast<std::int64_t>((times.last - times.clean) / (times.first - times.clean) * (1 + kRounding));
  throw ConfigError(text("num_inference_steps = ", count, " with spacing = \"trailing\" would end at t = ",
                         number(result.back()), ", and the noise schedule begins at ", number(times.first),
                         "; take at most ", most, " steps, or spacing = \"linspace\""));
}

std::vector<double> sampling_times(const NoiseScheduler& schedule, std::int64_t count, Spacing spacing, Spacing unset,
                                   const std::string& respacing) {
  if (!respacing.empty() && spacing != unset) {
    refuse(respacing, text("it says which timesteps are kept, and spacing = \"", to_string(spacing),
                           "\" does nothing beside it; leave one of them out"));
  }
  const TimeRange times = schedule.range();
  if (!times.is_whole) {
    if (!respacing.empty()) refuse(respacing, "this noise schedule has no whole timesteps to keep some of");
    return continuous_times(times, count, spacing);
  }
  const std::int64_t total = schedule.num_train_timesteps();
  const Timesteps timesteps =
      respacing.empty() ? spaced_timesteps(total, count, spacing) : respaced_timesteps(total, respacing);
  return {timesteps.rbegin(), timesteps.rend()};
}

void warn_of_steps(std::int64_t count, std::int64_t unset, const std::string& respacing) {
  if (respacing.empty() || count == unset) return;
  Log("sampler").warning("num_inference_steps = ", count, " does nothing beside ", kRespacing, " = ", quoted(respacing),
                         ", which says how many steps there are; leave one of them out");
}

std::vector<SampleStep> plan_of_times(const std::vector<double>& times, double clean, bool draws_noise) {
  std::vector<SampleStep> plan;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const bool is_last = i + 1 == times.size();
    plan.push_back({times[i], is_last ? clean : times[i + 1], draws_noise && !is_last});
  }
  return plan;
}

}  // namespace casdm::sampler_diffusion
