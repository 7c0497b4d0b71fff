#include "casdm/beta_schedule.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// The t whose value lies at position 0 on a device. It is 0 where `take`, which counts negative positions from the
/// end, can look up every t as it is: a subtraction costs as much as the look-up.
std::int64_t t_at_start(std::int64_t first, std::size_t count) {
  return first <= 0 && first >= -static_cast<std::int64_t>(count) ? 0 : first;
}

}  // namespace

struct TimeTable::Copies {
  std::mutex mutex;
  std::map<std::string, Tensor> tensors;
};

TimeTable::TimeTable(std::vector<double> values, std::int64_t first)
    : values_(std::move(values)), first_(first), copies_(std::make_shared<Copies>()) {}

Tensor TimeTable::on(c10::Device device) const {
  const std::lock_guard lock(copies_->mutex);
  Tensor& copy = copies_->tensors[device.str()];
  if (!copy.defined()) {
    copy = at::tensor(values_, at::kDouble).roll(first_ - t_at_start(first_, values_.size())).to(device);
  }
  return copy;
}

Tensor TimeTable::operator()(const Tensor& t) const {
  const Tensor table = on(t.device());
  const std::int64_t last = first_ + static_cast<std::int64_t>(values_.size()) - 1;
  const std::int64_t start = t_at_start(first_, values_.size());
  const auto positions = [&](const Tensor& times) { return start == 0 ? times : times - start; };
  if (at::isIntegralType(t.scalar_type(), false)) return table.take(positions(t.to(at::kLong).clamp(first_, last)));
  const Tensor position = positions(t.to(at::kDouble).clamp(static_cast<double>(first_), static_cast<double>(last)));
  const Tensor below = position.floor();
  const Tensor low = table.take(below.to(at::kLong));
  const Tensor high = table.take(position.ceil().to(at::kLong));
  return at::lerp(low, high, position - below);
}

namespace {

std::vector<double> with_first(double first, const std::vector<double>& values) {
  std::vector<double> result{first};
  result.insert(result.end(), values.begin(), values.end());
  return result;
}

}  // namespace

BetaSchedule::Levels BetaSchedule::levels_of(const std::vector<double>& betas) {
  if (betas.empty()) throw ConfigError("a noise schedule needs at least one timestep");
  Levels levels;
  double product = 1.0;
  double noise = 0.0;  // 1 - product, accumulated as a sum: the difference would cancel if betas are small
  for (std::size_t i = 0; i < betas.size(); ++i) {
    const double beta = betas[i];
    if (!(beta > 0 && beta <= 1)) throw ConfigError(text("beta of timestep ", i, " is ", beta, ", not in (0, 1]"));
    const double previous = product;
    const double previous_noise = noise;
    product *= 1 - beta;
    if (product == previous && previous < std::numeric_limits<double>::min()) {
      throw ConfigError(text("nothing is left of the image after timestep ", i - 1, " of 0..", betas.size() - 1,
                             ": make the betas smaller, or take fewer timesteps"));
    }
    if (product == 1) throw ConfigError(text("beta of timestep ", i, " is ", beta, ", too small to change anything"));
    noise = product > 0 ? previous_noise + previous * beta : 1.0;
    levels.alphas_cumprod.push_back(product);
    levels.alphas_cumprod_prev.push_back(previous);
    levels.alpha.push_back(std::sqrt(product));
    levels.sigma.push_back(std::sqrt(noise));
    levels.variance.push_back(beta * previous_noise / noise);
    levels.coef1.push_back(std::sqrt(previous) * beta / noise);
    levels.coef2.push_back(std::sqrt(1 - beta) * previous_noise / noise);
  }
  return levels;
}

BetaSchedule::BetaSchedule(std::vector<double> betas) : BetaSchedule(betas, levels_of(betas)) {}

BetaSchedule::BetaSchedule(std::vector<double> betas, Levels levels)
    : betas_(std::move(betas)),
      alphas_cumprod_(std::move(levels.alphas_cumprod)),
      alphas_cumprod_prev_(std::move(levels.alphas_cumprod_prev)),
      alpha_(with_first(1, levels.alpha), -1),
      sigma_(with_first(0, levels.sigma), -1),
      posterior_variance_(std::move(levels.variance)),
      posterior_mean_coef1_(std::move(levels.coef1)),
      posterior_mean_coef2_(std::move(levels.coef2)) {
  for (std::size_t i = 0; i < betas_.size(); ++i) {
    const double variance = i > 0 || betas_.size() == 1 ? posterior_variance_[i] : posterior_variance_[1];
    posterior_log_variance_clipped_.push_back(std::log(std::max(variance, 1e-20)));
  }
}

BetaSchedule::~BetaSchedule() = default;

TimeRange BetaSchedule::range() const {
  return {.first = 0, .last = static_cast<double>(betas_.size() - 1), .clean = -1, .is_whole = true};
}

Tensor BetaSchedule::time_at(const Tensor& log_snr) const {
  const Tensor noise = -log_snr.to(at::kDouble);  // increases with t
  const Tensor table = -NoiseScheduler::log_snr(at::arange(num_train_timesteps(), noise.options()));
  const Tensor above =
      at::searchsorted(table, noise.contiguous()).clamp(1, std::max<std::int64_t>(table.size(0) - 1, 1));
  if (table.size(0) == 1) return at::zeros_like(noise);
  const Tensor high = table.take(above);
  const Tensor low = table.take(above - 1);
  // If a level has no signal, the one before it is infinitely far away, and everything in between is closest to that
  // one.
  const Tensor part = at::where(high.isinf(), 0.0, (noise - low) / (high - low)).clamp(0, 1);
  return (above - 1).to(at::kDouble) + at::where(noise >= high, 1.0, part);
}

Tensor BetaSchedule::posterior_mean(const Tensor& x0, const Tensor& x_t, const Tensor& t) const {
  const Posterior step = posterior(t, previous(t));
  return per_image(step.of_x0, x0) * x0 + per_image(step.of_x_t, x_t) * x_t;
}

BetaSchedule respaced(const BetaSchedule& schedule, const std::vector<std::int64_t>& timesteps) {
  std::vector<double> betas;
  double previous = 1.0;
  std::int64_t last = -1;
  if (timesteps.empty()) throw ConfigError("a respaced schedule must keep at least one timestep");
  for (const std::int64_t t : timesteps) {
    if (t <= last || t >= schedule.num_train_timesteps()) {
      throw ConfigError(
          text("timesteps must rise within 0..", schedule.num_train_timesteps() - 1, ", got ", t, " after ", last));
    }
    if (previous == 0)
      throw ConfigError(text("timestep ", t, " follows one with A = 0, which no process can continue from"));
    const double kept = schedule.alphas_cumprod()[static_cast<std::size_t>(t)];
    betas.push_back(1 - kept / previous);
    previous = kept;
    last = t;
  }
  return BetaSchedule(std::move(betas));
}

}  // namespace casdm
