#include "preconditioning.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::head_diffusion {

Preconditioned::Preconditioned(std::shared_ptr<const NoiseScheduler> schedule, double sigma_data)
    : schedule_(std::move(schedule)), sigma_data_(sigma_data) {
  // A path that scales the networks' input, as EDM's does, must do so for the same images.
  const Tensor t = at::full({1}, schedule_->range().last, at::kDouble), one = at::ones({1, 1, 1, 1}, at::kDouble);
  const double theirs = schedule_->network_input(one, t).item<double>();
  const double ours = 1 / variance_at(t).sqrt().item<double>();
  if (theirs != 1 && std::abs(theirs / ours - 1) > 1e-9) {
    throw ConfigError(text("sigma_data = ", sigma_data,
                           ", but [noise] scales the networks' input for images of another standard deviation; "
                           "give both the same sigma_data"));
  }
}

Tensor Preconditioned::variance_at(const Tensor& t) const {
  return schedule_->sigma(t).square() + (sigma_data_ * schedule_->alpha(t)).square();
}

Tensor Preconditioned::clean_image(const HeadNetwork& network, const Tensor& x_t, const Tensor& t,
                                   const Condition& condition) const {
  const TimeRange range = schedule_->range();
  const Tensor variance = variance_at(t);
  // The path's network time for the clean image may be infinite, and 0 times the network's output would then be NaN.
  const Tensor trained_t = at::where(t.eq(range.clean), range.first, t);
  const Tensor output = network(x_t / per_image(variance.sqrt(), x_t), trained_t, condition);
  const Tensor skip = sigma_data_ * sigma_data_ * schedule_->alpha(t) / variance;
  const Tensor out = schedule_->sigma(t) * sigma_data_ / variance.sqrt();
  return per_image(skip, x_t) * x_t + per_image(out, x_t) * output;
}

}  // namespace casdm::head_diffusion
