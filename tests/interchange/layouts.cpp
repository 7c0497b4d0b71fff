#include "interchange/layouts.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>

#include "casdm/safetensors.h"
#include "framework/config/document.h"
#include "framework/interchange/weights_folder.h"
#include "support/components.h"

namespace casdm::testing {

Backbone::Spec spec_of(std::int64_t in, std::int64_t out, std::int64_t classes) {
  Backbone::Spec spec;
  spec.image = ImageShape::square(in, 16);
  spec.out_channels = out;
  spec.condition.num_classes = classes;
  return spec;
}

NamedTensors detached(const Module& module) {
  NamedTensors result;
  for (const auto& [name, tensor] : state(module)) result.emplace_back(name, tensor.detach());
  return result;
}

std::shared_ptr<Backbone> filled(const std::string& backbone, const NetworkCase& network) {
  auto result = make<Backbone>(backbone, network.options, network.spec);
  fill_state(result->parameters());
  result->train(false);
  return result;
}

BackboneWeights weights_of(const std::string& backbone, const NetworkCase& network) {
  const Value table = component(Backbone::kind, "type = \"" + backbone + "\"\n" + network.options).table;
  return {detached(*filled(backbone, network)), table, network.spec, "", {}};
}

std::shared_ptr<Backbone> network_of(const std::string& backbone, const BackboneWeights& model) {
  const auto network = make<Backbone>(backbone, to_toml(model.options), model.spec);
  load_state(*network, model.tensors, "read");
  network->train(false);
  return network;
}

ForeignWeights golden_model(const Value& golden) {
  ForeignWeights model{{}, *golden.find("config")};
  for (const auto& [name, shape] : golden.find("shapes")->as_table()) {
    std::vector<std::int64_t> sizes;
    for (const Value& size : shape.as_array()) sizes.push_back(size.as_integer());
    model.tensors.emplace_back(name, at::empty(sizes));
  }
  fill_state(model.tensors);
  return model;
}

void check_equal(const NamedTensors& a, const NamedTensors& b) {
  const std::map<std::string, Tensor> others(b.begin(), b.end());
  CHECK(a.size() == others.size());
  for (const auto& [name, tensor] : a) {
    REQUIRE_MESSAGE(others.contains(name), name);
    CHECK_MESSAGE(at::equal(tensor, others.at(name)), name);
  }
}

void export_for_diffusers(const std::string& backbone, const WeightLayout& layout,
                          const std::vector<NetworkCase>& networks, bool needs_labels) {
  const char* folder = std::getenv("CASDM_EXPORT_DIR");
  if (folder == nullptr) {
    MESSAGE("CASDM_EXPORT_DIR is not set: nothing is written");
    return;
  }
  const at::NoGradGuard no_grad;
  for (const NetworkCase& network : networks) {
    const std::filesystem::path to = std::filesystem::path(folder) / network.name;
    write_weights_folder(to, layout.info(), layout.write(weights_of(backbone, network)));
    const ImageShape& image = network.spec.image;
    const Tensor x = fill(11, {2, image.channels, image.height, image.width});
    const Tensor t = at::arange(2, at::kFloat) * 700 + 20;
    NamedTensors evaluation = {{"x", x}, {"t", t}};
    Condition condition;
    if (network.spec.condition.num_classes > 0) {
      condition.labels = at::arange(1, 3, at::kLong);
      evaluation.emplace_back("y", condition.labels);
    } else if (needs_labels) {
      evaluation.emplace_back("y", at::zeros({2}, at::kLong));
    }
    evaluation.emplace_back("out", filled(backbone, network)->forward(x, t, condition));
    write_safetensors(to / "evaluation.safetensors", evaluation);
  }
}

}  // namespace casdm::testing
