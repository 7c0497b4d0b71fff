#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/random.h"
#include "support/components.h"

/// Small networks for the tests, and one evaluation with all its gradients.
namespace casdm::testing {

inline constexpr const char* kSmall =
    "channels = 32\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = [4]\n";

/// A U-Net for images of 8 pixels with filled parameters, so that none is zero.
inline std::shared_ptr<Backbone> small_unet(const std::string& options = "", Backbone::Spec spec = {}) {
  spec.image.height = spec.image.width = 8;
  auto network = make<Backbone>("unet", kSmall + options, spec);
  fill_state(network->parameters());
  return network;
}

/// EDM2's network, likewise.
inline std::shared_ptr<Backbone> small_edm2(const std::string& options = "") {
  Backbone::Spec spec;
  spec.image.height = spec.image.width = 8;
  auto network = make<Backbone>("edm2_unet", kSmall + ("num_head_channels = 16\n" + options), spec);
  fill_state(network->parameters());
  return network;
}

struct Input {
  Tensor x = fill(1001, {3, 3, 8, 8});
  Tensor t = at::arange(3, at::kFloat) * 400 + 7;
  Tensor out_grad = fill(1002, {3, 3, 8, 8});
};

/// Images of 16 pixels: enough of them for Winograd's convolutions.
inline Input larger_input() { return {fill(1003, {3, 3, 16, 16}), Input().t, fill(1004, {3, 3, 16, 16})}; }

struct Evaluation {
  Tensor out;
  std::vector<Tensor> gradients;  ///< of x, then of the parameters
};

/// Output and gradients of sum(out * out_grad).
inline Evaluation evaluate(Backbone& network, const Input& input = {}, const Condition& condition = {}) {
  const Tensor x = input.x.detach().clone().requires_grad_(true);
  NamedTensors parameters = network.parameters();
  for (auto& [name, parameter] : parameters) parameter.mutable_grad().reset();
  const Tensor out = network.forward(x, input.t, condition);
  out.backward(input.out_grad.to(out.scalar_type()));
  Evaluation result{out.detach(), {x.grad()}};
  for (auto& [name, parameter] : parameters) result.gradients.push_back(parameter.grad());
  return result;
}

inline bool is_equal(const Evaluation& a, const Evaluation& b) {
  bool equal = at::equal(a.out, b.out) && a.gradients.size() == b.gradients.size();
  for (std::size_t i = 0; equal && i < a.gradients.size(); ++i) equal = at::equal(a.gradients[i], b.gradients[i]);
  return equal;
}

/// The largest difference between gradients, relative to the largest gradient, since some vanish. Infinite if one is
/// not finite.
inline double gradient_difference(const Evaluation& a, const Evaluation& exact) {
  const auto flat = [](const std::vector<Tensor>& gradients) {
    std::vector<Tensor> parts;
    for (const Tensor& gradient : gradients) parts.push_back(gradient.cpu().to(at::kDouble).flatten());
    return at::cat(parts);
  };
  return max_relative_difference(flat(a.gradients), flat(exact.gradients));
}

/// Dropout for the three images of an Input.
inline Condition with_dropout(std::uint64_t seed) {
  Condition condition;
  for (std::uint64_t i = 0; i < 3; ++i) condition.dropout.seeds.push_back(derive_seed(seed, "image", i));
  return condition;
}

}  // namespace casdm::testing
