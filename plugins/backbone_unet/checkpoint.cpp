#include "checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <utility>

#include "casdm/error.h"

namespace casdm::unet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct AutocastState {
  at::DeviceType device = at::kCPU;
  bool is_enabled = false;
  at::ScalarType dtype = at::kFloat;
  bool is_caching = true;
};

AutocastState autocast_state(at::DeviceType device) {
  return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device),
          at::autocast::is_autocast_cache_enabled()};
}

/// Sets an autocast state while this object lives.
class AutocastGuard {
 public:
  explicit AutocastGuard(const AutocastState& state) : before_(autocast_state(state.device)) { apply(state); }
  ~AutocastGuard() { apply(before_); }
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  static void apply(const AutocastState& state) {
    at::autocast::set_autocast_dtype(state.device, state.dtype);
    at::autocast::set_autocast_enabled(state.device, state.is_enabled);
    at::autocast::set_autocast_cache_enabled(state.is_caching);
  }
  AutocastState before_;
};

/// What the second evaluation needs in addition to tensors.
struct Recipe : torch::CustomClassHolder {
  BlockFunction block;
  /// The state of the first evaluation, but without its cache: casts made in a backward pass do not belong to an
  /// autocast region that would clear them, so they would outlive the weights.
  AutocastState autocast;
  std::vector<Tensor> parameters;
};

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static Tensor forward(AutogradContext* ctx, const c10::intrusive_ptr<Recipe>& recipe, const Tensor& x,
                        const std::optional<Tensor>& embedding, at::TensorList /*parameters: edges of the graph*/) {
    ctx->saved_data["recipe"] = c10::IValue::make_capsule(recipe);
    const Tensor of_block = embedding.value_or(Tensor());
    ctx->save_for_backward({x, of_block});
    return recipe->block(x, of_block);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    if (c10::GradMode::is_enabled()) {
      throw Error("a network with checkpoint = true cannot be differentiated twice: set checkpoint = false");
    }
    const auto recipe = c10::static_intrusive_pointer_cast<Recipe>(ctx->saved_data["recipe"].toCapsule());
    const variable_list saved = ctx->get_saved_variables();
    variable_list inputs;
    for (const Tensor& tensor : saved) {
      inputs.push_back(tensor.defined() ? tensor.detach().requires_grad_(tensor.requires_grad()) : tensor);
    }
    Tensor output;
    {
      const AutocastGuard guard(recipe->autocast);
      const c10::AutoGradMode with_gradients(true);
      output = recipe->block(inputs[0], inputs[1]);
    }
    return gradients(output, grads[0], inputs, recipe->parameters);
  }

 private:
  /// One gradient per argument of `forward`; undefined for arguments that need none.
  static variable_list gradients(const Tensor& output, const Tensor& grad_output, variable_list inputs,
                                 const std::vector<Tensor>& parameters) {
    inputs.insert(inputs.end(), parameters.begin(), parameters.end());
    variable_list wanted;
    for (const Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    const variable_list found = torch::autograd::grad({output}, wanted, {grad_output}, false, false, true);
    variable_list result(1);  // the recipe
    std::size_t next = 0;
    for (const Tensor& input : inputs) result.push_back(input.requires_grad() ? found[next++] : Tensor());
    return result;
  }
};

}  // namespace

Tensor checkpoint(BlockFunction block, const Tensor& x, const Tensor& embedding,
                  const std::vector<Tensor>& parameters) {
  if (!c10::GradMode::is_enabled()) return block(x, embedding);
  auto recipe = c10::make_intrusive<Recipe>();
  recipe->block = std::move(block);
  recipe->autocast = autocast_state(x.device().type());
  recipe->autocast.is_caching = false;
  recipe->parameters = parameters;
  const std::optional<Tensor> of_block = embedding.defined() ? std::optional(embedding) : std::nullopt;
  return Checkpoint::apply(recipe, x, of_block, at::TensorList(parameters));
}

}  // namespace casdm::unet
