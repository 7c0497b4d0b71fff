#include <ATen/ATen.h>

#include <cmath>

#include "casdm/noise_scheduler.h"
#include "casdm/testing.h"

using casdm::testing::check;

namespace {

using at::Tensor;

bool is_near(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>() < 1e-9; }

}  // namespace

int main() {
  const auto schedule = casdm::testing::make<casdm::NoiseScheduler>("rectified_flow");

  const Tensor x0 = at::linspace(-1, 1, 3 * 12, at::kDouble).reshape({3, 3, 2, 2});
  const Tensor eps = x0.flip(0).cos();
  const Tensor t = at::tensor({0.2, 0.5, 0.9}, at::kDouble);
  const Tensor s = casdm::per_image(t, x0);
  const Tensor x_t = schedule->q_sample(x0, t, eps);
  check(is_near(x_t, (1 - s) * x0 + s * eps), "x_t lies on the straight path");

  // An Euler step of dx/dt = eps - x0 is a DDIM step between the same two times.
  const Tensor later = t - 0.1;
  check(is_near(schedule->q_sample(x0, later, eps), x_t - 0.1 * (eps - x0)), "a DDIM step is Euler's step of the flow");

  // The flow's loss |u - u'|^2 with u = eps - x0 equals |x0 - x0'|^2 / t^2 if x0' and eps' imply each other.
  const Tensor x0_predicted = 0.8 * x0 + 0.05;
  const Tensor eps_predicted = schedule->predict_eps_from_x0(x_t, t, x0_predicted);
  const Tensor error = (eps - x0) - (eps_predicted - x0_predicted);
  check(is_near(error, (x0_predicted - x0) / s), "an error of x0 is t times that of the velocity");

  check(is_near(schedule->time_at(schedule->log_snr(t)), t), "the log signal-to-noise ratio leads back to t");
  return casdm::testing::result();
}
