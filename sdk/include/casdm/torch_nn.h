#pragma once

#include <ATen/Context.h>
#include <torch/nn.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>

#include "casdm/backbone.h"

/// Opt-in: networks written with torch::nn. Including it adds half a minute to a file's compile time.
namespace casdm {

/// While it lives, LibTorch's global generator draws from `seed`: layers of torch::nn initialise themselves with it.
/// Afterwards the generator is where it was. One lives at a time; another thread waits.
class SeededInitialisation {
 public:
  explicit SeededInitialisation(std::uint64_t seed)
      : lock_(mutex()), generator_(at::globalContext().defaultGenerator(at::kCPU)), state_(generator_.get_state()) {
    generator_.set_current_seed(seed);
  }
  ~SeededInitialisation() { generator_.set_state(state_); }
  SeededInitialisation(const SeededInitialisation&) = delete;
  SeededInitialisation& operator=(const SeededInitialisation&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }

  std::lock_guard<std::mutex> lock_;
  at::Generator generator_;
  Tensor state_;
};

/// The tensors of a torch::nn dictionary under their names; handles to them.
inline NamedTensors named_tensors(const torch::OrderedDict<std::string, Tensor>& tensors) {
  NamedTensors result;
  for (const auto& entry : tensors) result.emplace_back(entry.key(), entry.value());
  return result;
}

/// A module of torch::nn as a backbone. The names of its parameters are the keys of checkpoints.
///
///     struct MyNetworkImpl : torch::nn::Module {
///       MyNetworkImpl(const MyOptions& options, const casdm::Backbone::Spec& spec);
///       at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const casdm::Condition& condition);
///     };
///     ...
///     plugin.add<casdm::TorchBackbone<MyNetworkImpl, MyOptions>>("my_network", "What it is.");
///
/// `is_training()` of the module says whether dropout is on. Do not use nn::Dropout or anything else of torch::nn
/// that draws when it runs: it uses the global generator. Nor nn::BatchNorm: an image must not depend on its batch.
template <class ModuleImpl, class ModuleOptions>
class TorchBackbone : public Backbone {
 public:
  using Options = ModuleOptions;
  static_assert(std::is_base_of_v<torch::nn::Module, ModuleImpl>);

  TorchBackbone(const Options& options, const Spec& spec) {
    const SeededInitialisation seeded(spec.seed);
    network_ = std::make_shared<ModuleImpl>(options, spec);
  }

  NamedTensors parameters() const override { return named_tensors(network_->named_parameters()); }
  NamedTensors buffers() const override { return named_tensors(network_->named_buffers()); }
  void train(bool on) override { network_->train(on); }
  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
    return network_->forward(x, t, condition);
  }

 private:
  std::shared_ptr<ModuleImpl> network_;
};

}  // namespace casdm
