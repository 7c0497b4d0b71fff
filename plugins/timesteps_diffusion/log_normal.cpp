#include "log_normal.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace casdm::timesteps_diffusion {

void LogNormalOptions::describe(Schema<LogNormalOptions>& s) {
  s.option("mean", &LogNormalOptions::mean, "Mean of ln(sigma / alpha): the noise level trained at most often.")
      .range(-10, 10);
  s.option("std", &LogNormalOptions::std, "Its standard deviation.").greater_than(0).range(0, 10);
}

LogNormalTimesteps::LogNormalTimesteps(const LogNormalOptions& options, const Spec& spec)
    : options_(options), schedule_(spec.schedule) {}

TimestepDraw LogNormalTimesteps::draw(const std::vector<double>& u) const {
  const TimeRange times = schedule_->range();
  const auto [low, high] = std::minmax(times.first, times.last);
  // For u = 0, the normal quantile would be minus infinity.
  const Tensor z = at::special_ndtri(at::tensor(u, at::kDouble).clamp_min(0x1p-54));
  Tensor t = schedule_->time_at(-2 * (options_.mean + options_.std * z)).clamp(low, high);
  if (times.is_whole) t = t.round();
  TimestepDraw draw;
  draw.t.assign(t.data_ptr<double>(), t.data_ptr<double>() + t.numel());
  draw.weight.assign(u.size(), 1);
  return draw;
}

}  // namespace casdm::timesteps_diffusion
