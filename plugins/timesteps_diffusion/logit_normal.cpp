#include "logit_normal.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

namespace casdm::timesteps_diffusion {

namespace {

/// P(a < z < b) for a standard normal z, accurate in both tails.
double normal_between(double a, double b) {
  if (a > 0) return normal_between(-b, -a);
  return 0.5 * (std::erfc(-b / std::numbers::sqrt2) - std::erfc(-a / std::numbers::sqrt2));
}

std::vector<double> probabilities(const LogitNormalOptions& options, std::int64_t num_train_timesteps) {
  const auto T = static_cast<double>(num_train_timesteps);
  const auto deviation = [&](double t) { return (std::log(t) - std::log(T - t) - options.mean) / options.std; };
  std::vector<double> result;
  for (std::int64_t t = 0; t < num_train_timesteps; ++t) {
    result.push_back(normal_between(deviation(static_cast<double>(t)), deviation(static_cast<double>(t + 1))));
  }
  return result;
}

}  // namespace

void LogitNormalOptions::describe(Schema<LogitNormalOptions>& s) {
  s.option("mean", &LogitNormalOptions::mean, "Mean of log(s / (1-s)), s = t / T; above 0: more noise.").range(-10, 10);
  s.option("std", &LogitNormalOptions::std, "Its standard deviation; smaller: closer around the middle.")
      .greater_than(0)
      .range(0, 10);
  s.option("importance", &LogitNormalOptions::importance,
           "Weight each image by 1 / (T p(t)), which keeps the objective of uniform timesteps; rare ones get large "
           "weights.");
}

LogitNormalTimesteps::LogitNormalTimesteps(const LogitNormalOptions& options, const Spec& spec)
    : options_(options),
      times_(spec.schedule->range()),
      distribution_(probabilities(options, spec.schedule->num_train_timesteps())) {}

TimestepDraw LogitNormalTimesteps::draw(const std::vector<double>& u) const {
  if (times_.is_whole) return distribution_.draw(u, options_.importance);
  // For u = 0, the normal quantile would be minus infinity.
  const at::Tensor z = at::special_ndtri(at::tensor(u, at::kDouble).clamp_min(0x1p-54)) * options_.std + options_.mean;
  const at::Tensor s = z.sigmoid();
  const at::Tensor deviation = (z - options_.mean) / options_.std;
  const at::Tensor inverse_density =
      std::sqrt(2 * std::numbers::pi) * options_.std * s * (1 - s) * (0.5 * deviation.square()).exp();
  TimestepDraw draw;
  for (std::size_t i = 0; i < u.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    draw.t.push_back(times_.first + (times_.last - times_.first) * s[row].item<double>());
    draw.weight.push_back(options_.importance ? inverse_density[row].item<double>() : 1);
  }
  return draw;
}

}  // namespace casdm::timesteps_diffusion
