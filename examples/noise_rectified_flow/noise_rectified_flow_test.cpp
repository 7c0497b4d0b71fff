#include <ATen/ATen.h>

#include <cmath>
#include <cstdlib>
#include <iostream>

#include "casdm/noise_scheduler.h"
#include "casdm/plugin_description.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

using at::Tensor;

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

bool is_near(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>() < 1e-9; }

}  // namespace

int main() {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  const casdm::NoiseScheduler::Spec spec;
  const auto schedule = std::static_pointer_cast<casdm::NoiseScheduler>(
      plugin.find("noise_scheduler", "rectified_flow")->make(casdm::Value::Table{{"num_train_timesteps", 99}}, &spec));

  const Tensor x0 = at::linspace(-1, 1, 3 * 12, at::kDouble).reshape({3, 3, 2, 2});
  const Tensor eps = x0.flip(0).cos();
  const Tensor t = at::arange(3, at::kLong) * 40;
  const Tensor s = ((t + 1).to(at::kDouble) / 100).view({3, 1, 1, 1});
  const Tensor A = casdm::NoiseScheduler::gather(schedule->alphas_cumprod(), t, x0);
  const Tensor scale = A.sqrt() + (1 - A).sqrt();

  const Tensor x_t = schedule->q_sample(x0, t, eps);
  check(is_near(x_t / scale, (1 - s) * x0 + s * eps), "scaled, x_t lies on the straight path");

  // An Euler step of dx/ds = eps - x0 is a DDIM step between the same two times.
  const Tensor next = t - 7;
  const Tensor s_next = ((next + 1).to(at::kDouble) / 100).view({3, 1, 1, 1}).clamp_min(0.01);
  const Tensor euler = x_t / scale + (s_next - s) * (eps - x0);
  const Tensor later = next.clamp_min(0);
  const Tensor ddim = schedule->q_sample(x0, later, eps);
  const Tensor A_next = casdm::NoiseScheduler::gather(schedule->alphas_cumprod(), later, x0);
  check(is_near(ddim / (A_next.sqrt() + (1 - A_next).sqrt()), euler), "a DDIM step is Euler's step of the flow");

  // The flow's loss |v - v'|^2 with v = eps - x0 is |x0 - x0'|^2 / s^2, when x0' and eps' imply each other.
  const Tensor x0_predicted = 0.8 * x0 + 0.05;
  const Tensor eps_predicted = schedule->predict_eps_from_x0(x_t, t, x0_predicted);
  const Tensor v_error = (eps - x0) - (eps_predicted - x0_predicted);
  check(is_near(v_error, (x0_predicted - x0) / s), "an error of x0 is s times that of the velocity");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
