#include <ATen/ATen.h>

#include "casdm/metric_loss.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

int main() {
  const auto metric = make<casdm::MetricLoss>("template_name", casdm::Value::Table{{"epsilon", 1e-3}});
  const at::Tensor a = at::linspace(-1, 1, 2 * 3 * 8 * 8).reshape({2, 3, 8, 8});
  const at::Tensor b = a + 0.5;

  check((*metric)(a, b).sizes() == at::IntArrayRef{2}, "there is one distance per image");
  check((*metric)(a, a).abs().max().item<double>() < 1e-7, "an image is at distance 0 from itself");
  // sqrt(0.5^2 + 0.001^2) - 0.001; float32 rounds in the seventh digit.
  check(std::abs((*metric)(b, a)[0].item<double>() - 0.499001) < 1e-6, "a constant difference has the value it must");

  const at::Tensor prediction = a.clone().requires_grad_(true);
  (*metric)(prediction, a).sum().backward();
  check(prediction.grad().isfinite().all().item<bool>(), "the gradient is finite at identity");
  return casdm::testing::result();
}
