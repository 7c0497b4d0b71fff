#include "logit_normal.h"

#include <cmath>
#include <numbers>

namespace casdm::timesteps_diffusion {

namespace {

/// P(a < z < b) of a standard normal z, accurate in both tails.
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
           "Weight each image by 1 / (T p(t)), which keeps the objective of uniform timesteps; rare ones weigh much.");
}

LogitNormalTimesteps::LogitNormalTimesteps(const LogitNormalOptions& options, const Spec& spec)
    : options_(options), distribution_(probabilities(options, spec.schedule->num_train_timesteps())) {}

}  // namespace casdm::timesteps_diffusion
