#include "casdm/noise_scheduler.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// Number of bisections of a range, enough to reach the last bit of a double.
constexpr int kHalvings = 60;

/// The number of training steps that a continuous path counts as.
constexpr std::int64_t kStepsOfContinuousPath = 1000;

Tensor as_double(const Tensor& t) { return t.to(at::kDouble); }

double value_at(const Tensor& scalar) { return scalar.item<double>(); }

/// sigma_ts^2 / sigma_t^2 = 1 - SNR_t / SNR_s, from the logarithms to avoid subtracting nearly equal numbers.
double share_of_step(double log_snr_t, double log_snr_s) { return -std::expm1(log_snr_t - log_snr_s); }

}  // namespace

double NoiseLevel::log_ratio() const { return std::log(alpha) - std::log(sigma); }

NoiseScheduler::~NoiseScheduler() = default;

Tensor NoiseScheduler::log_snr(const Tensor& t) const { return 2 * (alpha(t).log() - sigma(t).log()); }

Tensor NoiseScheduler::time_at(const Tensor& log_snr) const {
  const TimeRange times = range();
  const Tensor wanted = as_double(log_snr);
  Tensor low = at::full_like(wanted, times.first);
  Tensor high = at::full_like(wanted, times.last);
  for (int i = 0; i < kHalvings; ++i) {
    const Tensor middle = (low + high) / 2;
    const Tensor is_cleaner = this->log_snr(middle) > wanted;
    low = at::where(is_cleaner, middle, low);
    high = at::where(is_cleaner, high, middle);
  }
  return high;
}

Tensor NoiseScheduler::previous(const Tensor& t) const {
  const TimeRange times = range();
  if (times.is_whole) return t - 1;
  const double step = (times.last - times.first) / static_cast<double>(kStepsOfContinuousPath);
  return times.clean < times.last ? (t - step).clamp_min(times.clean) : (t - step).clamp_max(times.clean);
}

std::int64_t NoiseScheduler::num_train_timesteps() const {
  const TimeRange times = range();
  return times.is_whole ? static_cast<std::int64_t>(times.last - times.first) + 1 : kStepsOfContinuousPath;
}

Tensor NoiseScheduler::network_time(const Tensor& t) const {
  const TimeRange times = range();
  if (times.is_whole) return t;
  return (t - times.clean) * (static_cast<double>(kStepsOfContinuousPath) / (times.last - times.clean));
}

Tensor NoiseScheduler::network_input(const Tensor& x_t, const Tensor& /*t*/) const { return x_t; }

Tensor NoiseScheduler::q_sample(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
  return per_image(alpha(t), x0) * x0 + per_image(sigma(t), x0) * eps;
}

Tensor NoiseScheduler::predict_x0_from_eps(const Tensor& x_t, const Tensor& t, const Tensor& eps) const {
  const Tensor signal = alpha(t);
  const Tensor divisor = at::where(signal > 0, signal, std::numeric_limits<double>::infinity());
  return (x_t - per_image(sigma(t), x_t) * eps) / per_image(divisor, x_t);
}

Tensor NoiseScheduler::predict_eps_from_x0(const Tensor& x_t, const Tensor& t, const Tensor& x0) const {
  return (x_t - per_image(alpha(t), x_t) * x0) / per_image(sigma(t), x_t);
}

Tensor NoiseScheduler::velocity(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
  return per_image(alpha(t), x0) * eps - per_image(sigma(t), x0) * x0;
}

Tensor NoiseScheduler::predict_x0_from_v(const Tensor& x_t, const Tensor& t, const Tensor& v) const {
  const Tensor a = alpha(t);
  const Tensor b = sigma(t);
  const Tensor power = a.square() + b.square();
  return per_image(a / power, x_t) * x_t - per_image(b / power, x_t) * v;
}

Tensor NoiseScheduler::predict_eps_from_v(const Tensor& x_t, const Tensor& t, const Tensor& v) const {
  const Tensor a = alpha(t);
  const Tensor b = sigma(t);
  const Tensor power = a.square() + b.square();
  return per_image(b / power, x_t) * x_t + per_image(a / power, x_t) * v;
}

Posterior NoiseScheduler::posterior(const Tensor& t, const Tensor& s) const {
  const Tensor both = at::stack({t, s});
  const Tensor signal = alpha(both), power = sigma(both).square(), ratio = log_snr(both);
  const Tensor share = -(ratio[0] - ratio[1]).expm1();
  return {signal[1] * share, signal[0] / signal[1] * power[1] / power[0], power[1] * share, power[0] * share};
}

PosteriorLevel NoiseScheduler::posterior(double t, double s) const {
  const NoiseLevel at_t = level(t);
  const NoiseLevel at_s = level(s);
  const double share = share_of_step(2 * at_t.log_ratio(), 2 * at_s.log_ratio());
  const double power_t = at_t.sigma * at_t.sigma;
  const double power_s = at_s.sigma * at_s.sigma;
  return {at_s.alpha * share, at_t.alpha / at_s.alpha * power_s / power_t, power_s * share, power_t * share};
}

NoiseLevel NoiseScheduler::level(double t) const {
  const Tensor time = at::full({}, t, at::kDouble);
  return {t, value_at(alpha(time)), value_at(sigma(time))};
}

double NoiseScheduler::fraction(double t) const {
  const TimeRange times = range();
  return (t - times.clean) / (times.last - times.clean);
}

Tensor per_image(const Tensor& values, const Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = values.size(0);
  return values.reshape(shape).to(like.options().requires_grad(false));
}

std::shared_ptr<const NoiseScheduler> require_final_signal(std::shared_ptr<const NoiseScheduler> schedule,
                                                           std::string_view what) {
  const double last = schedule->range().last;
  // An error in the noise is amplified by 1/alpha, and its square must not exceed float32.
  if (schedule->level(last).alpha >= 1e-15) return schedule;
  throw ConfigError(text("the noise schedule ends in pure noise (no signal is left at t = ", number(last), "), where ",
                         what,
                         " cannot recover a clean image from the predicted noise; use a schedule that keeps some "
                         "signal, or a head that predicts v or the clean image"));
}

}  // namespace casdm
