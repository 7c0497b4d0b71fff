#include <ATen/ATen.h>

#include <cstdlib>
#include <iostream>

#include "casdm/metric_loss.h"
#include "casdm/plugin_description.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// The component as the host makes it, with `options` as in the experiment file.
std::shared_ptr<casdm::MetricLoss> make(const casdm::Value& options) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  const casdm::MetricLoss::Spec spec;
  return std::static_pointer_cast<casdm::MetricLoss>(plugin.find("metric_loss", "template_name")->make(options, &spec));
}

}  // namespace

int main() {
  const auto metric = make(casdm::Value::Table{{"epsilon", 1e-3}});
  const at::Tensor a = at::linspace(-1, 1, 2 * 3 * 8 * 8).reshape({2, 3, 8, 8});
  const at::Tensor b = a + 0.5;

  check((*metric)(a, b).sizes() == at::IntArrayRef{2}, "there is one distance per image");
  check((*metric)(a, a).abs().max().item<double>() < 1e-7, "an image is at distance 0 from itself");
  // sqrt(0.5^2 + 0.001^2) - 0.001; float32 rounds in the seventh digit.
  check(std::abs((*metric)(b, a)[0].item<double>() - 0.499001) < 1e-6, "a constant difference has the value it must");

  const at::Tensor prediction = a.clone().requires_grad_(true);
  (*metric)(prediction, a).sum().backward();
  check(prediction.grad().isfinite().all().item<bool>(), "the gradient is finite at identity");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
