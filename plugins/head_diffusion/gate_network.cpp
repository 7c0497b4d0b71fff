#include "gate_network.h"

#include <ATen/ATen.h>

namespace casdm::head_diffusion {

namespace {

constexpr std::int64_t kHiddenChannels = 32;
constexpr std::int64_t kKernel = 3;

}  // namespace

GateNetwork::GateNetwork(std::int64_t image_channels, std::int64_t gate_channels, std::uint64_t seed)
    : make_(seed),
      in_weight_(make_.uniform("in.weight", {kHiddenChannels, 2 * image_channels + 1, kKernel, kKernel},
                               (2 * image_channels + 1) * kKernel * kKernel)),
      in_bias_(make_.constant("in.bias", {kHiddenChannels}, 0)),
      out_(make_.zero_layer("out", {gate_channels, kHiddenChannels, 1, 1})) {}

ParameterRole GateNetwork::role(std::string_view parameter) const {
  return parameter == "out.weight" ? ParameterRole::output : ParameterRole::automatic;
}

Tensor GateNetwork::forward(const Tensor& x0, const Tensor& x0_from_eps, const Tensor& log_snr) const {
  const Tensor level = per_image((log_snr / 10).clamp(-2, 2), x0).expand({-1, 1, x0.size(2), x0.size(3)});
  const Tensor seen = at::cat({x0.detach(), x0_from_eps.detach(), level}, 1);
  const Tensor hidden = at::silu(at::conv2d(seen, in_weight_, in_bias_, 1, kKernel / 2));
  return at::conv2d(hidden, out_.weight, out_.bias).to(x0.scalar_type());
}

ExtendedModule::ExtendedModule(std::shared_ptr<Module> module, std::string prefix, std::shared_ptr<Module> extension)
    : module_(std::move(module)), prefix_(std::move(prefix)), extension_(std::move(extension)) {}

NamedTensors ExtendedModule::joined(NamedTensors own, const NamedTensors& extension) const {
  for (const auto& [name, tensor] : extension) own.emplace_back(prefix_ + name, tensor);
  return own;
}

NamedTensors ExtendedModule::parameters() const { return joined(module_->parameters(), extension_->parameters()); }

NamedTensors ExtendedModule::buffers() const { return joined(module_->buffers(), extension_->buffers()); }

void ExtendedModule::train(bool on) {
  module_->train(on);
  extension_->train(on);
}

ParameterRole ExtendedModule::role(std::string_view parameter) const {
  return parameter.starts_with(prefix_) ? extension_->role(parameter.substr(prefix_.size())) : module_->role(parameter);
}

}  // namespace casdm::head_diffusion
