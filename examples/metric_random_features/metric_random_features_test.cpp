#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>

#include "casdm/metric_loss.h"
#include "casdm/safetensors.h"
#include "casdm/testing.h"

using casdm::testing::check;

namespace {

using at::Tensor;

std::shared_ptr<casdm::MetricLoss> make(const casdm::Value::Table& options) {
  return casdm::testing::make<casdm::MetricLoss>("random_features", options);
}

/// A smooth image and a copy with structure removed, [1, 3, 16, 16], float64.
Tensor image() {
  const Tensor ramp = at::linspace(-3, 3, 16, at::kDouble);
  const Tensor plane = at::sin(ramp.unsqueeze(1) * 2 + ramp.square());
  return at::stack({plane, plane.flip(0), plane.transpose(0, 1)}).unsqueeze(0);
}

void test_values(casdm::MetricLoss& metric) {
  const Tensor a = image();
  const Tensor b = a.flip(3);
  check(metric(a, a).item<double>() == 0, "an image is at distance 0 from itself");
  check(metric(a, b).item<double>() == metric(b, a).item<double>(), "the distance is symmetric");
  const auto far = [&](double amount) { return metric(a + amount * b, a).item<double>(); };
  check(0 < far(0.01) && far(0.01) < far(0.1) && far(0.1) < far(1) && far(1) < 2, "more distortion is farther");
  const Tensor two = metric(at::cat({a, b}), at::cat({b, b}));
  check(std::abs(two[0].item<double>() - metric(a, b).item<double>()) < 1e-14, "images of a batch do not mix");
}

/// Central differences in float64: error of second order in the step, about 1e-9 here.
void test_gradient(casdm::MetricLoss& metric) {
  const Tensor target = image();
  const Tensor prediction = (0.9 * target + 0.05).requires_grad_(true);
  metric(prediction, target).sum().backward();
  const Tensor direction = target.flip(2);
  const double step = 1e-4;
  const auto moved = [&](double by) { return metric(prediction.detach() + by * direction, target).item<double>(); };
  const double numeric = (moved(step) - moved(-step)) / (2 * step);
  const double analytic = (prediction.grad() * direction).sum().item<double>();
  check(std::abs(numeric - analytic) < 1e-7 * std::abs(analytic), "the gradient is that of central differences");
}

void test_weights_file() {
  const auto file = std::filesystem::temp_directory_path() / "casdm_random_features_test.safetensors";
  const auto seven = make({{"seed", 7}});
  casdm::write_safetensors(file, seven->buffers());
  const auto loaded = make({{"weights", file.string()}});
  std::filesystem::remove(file);
  const Tensor a = image(), b = a.flip(3);
  check((*loaded)(a, b).equal((*seven)(a, b)), "weights from a file are the network they were saved from");
  check(!(*make({}))(a, b).equal((*seven)(a, b)), "another seed is another network");
}

}  // namespace

int main() {
  const auto metric = make({});
  test_values(*metric);
  test_gradient(*metric);
  test_weights_file();
  return casdm::testing::result();
}
