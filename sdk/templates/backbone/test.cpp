#include <ATen/ATen.h>

#include <cstdlib>
#include <iostream>

#include "casdm/backbone.h"
#include "casdm/plugin_description.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const std::string& what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// The component as the host makes it, with `options` as in the experiment file.
std::shared_ptr<casdm::Backbone> make(const casdm::Value& options, const casdm::Backbone::Spec& spec) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  return std::static_pointer_cast<casdm::Backbone>(plugin.find("backbone", "template_name")->make(options, &spec));
}

}  // namespace

int main() {
  const casdm::Backbone::Spec spec{.in_channels = 3, .out_channels = 4, .image_size = 8, .num_classes = 0, .seed = 7};
  const casdm::Value options = casdm::Value::Table{{"channels", 8}, {"depth", 2}};
  const auto network = make(options, spec);
  const at::Tensor x = at::linspace(-1, 1, 2 * 3 * 8 * 8).reshape({2, 3, 8, 8});
  const at::Tensor t = at::arange(2, at::kFloat) * 500;

  const at::Tensor y = network->forward(x, t, {});
  check(y.sizes() == at::IntArrayRef({2, 4, 8, 8}), "the output has the shape asked for");
  check(y.equal(make(options, spec)->forward(x, t, {})), "one seed makes one network");
  check(!y.equal(network->forward(x, t + 1, {})), "the time matters");

  y.square().sum().backward();
  for (const auto& [name, parameter] : network->parameters()) {
    check(parameter.grad().defined() && parameter.grad().abs().max().item<double>() > 0, name + " gets a gradient");
  }
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
