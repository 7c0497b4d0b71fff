#include "framework/training/gradient_exchange.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace casdm {

/// Called when a backward pass has added to the gradient of a parameter.
class GradientExchange::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientExchange& exchange, std::size_t slice, std::size_t parameter)
      : exchange_(exchange), slice_(slice), parameter_(parameter) {}

  void operator()(const Tensor& /*parameter*/) override { exchange_.find(exchange_.slices_[slice_], parameter_); }

 private:
  GradientExchange& exchange_;
  std::size_t slice_, parameter_;
};

GradientExchange::GradientExchange(std::vector<ModuleState>& modules, World& world, std::int64_t slice_bytes)
    : modules_(modules), world_(world), late_(modules.size()) {
  if (world.size() == 1) return;
  for (std::size_t module = modules.size(); module-- > 0;) {
    if (!modules[module].is_trainable()) continue;
    const Optimizer::Spec& flat = modules[module].flat();
    const bool is_beside = flat.gradients.is_cpu() || world.queues_exchanges();
    const auto element = static_cast<std::int64_t>(flat.gradients.element_size());
    const std::int64_t longest = is_beside ? slice_bytes / element : flat.gradients.numel();
    for (const ParameterRange& range : slices_of_parameters(flat, longest)) {
      Slice& slice = slices_.emplace_back(Slice{module, range, parameters_of(flat, range).gradients});
      slice.is_found.resize(range.count);
      for (std::size_t i = 0; is_beside && i < range.count; ++i) {
        const Tensor& parameter = watched_.emplace_back(modules[module].parameters()[range.first + i]);
        torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::make_unique<Hook>(*this, slices_.size() - 1, i));
      }
    }
  }
}

GradientExchange::~GradientExchange() {
  for (const Tensor& parameter : watched_) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientExchange::open() {
  for (Slice& slice : slices_) {
    slice.is_found.assign(slice.is_found.size(), false);
    slice.missing = slice.is_found.size();
  }
  begun_ = 0;
  is_open_ = true;
}

/// @param parameter  which of the slice's
void GradientExchange::find(Slice& slice, std::size_t parameter) {
  if (!is_open_ || slice.is_found[parameter]) return;
  slice.is_found[parameter] = true;
  --slice.missing;
  try {
    for (; begun_ < slices_.size() && slices_[begun_].missing == 0; ++begun_) {
      const Slice& next = slices_[begun_];
      modules_[next.module].gather_gradients(next.range);
      world_.begin_sum(next.gradients);
    }
  } catch (...) {  // would be taken for an error of the backward pass
    failure_ = std::current_exception();
    is_open_ = false;
  }
}

void GradientExchange::close() {
  is_open_ = false;
  for (std::size_t i = 0; i < begun_; ++i) {
    const auto& [module, range, gradients, is_found, missing] = slices_[i];
    const Tensor late = modules_[module].take_late_gradients(range);
    if (late.defined()) late_[module] = late_[module].defined() ? late_[module].add_(late) : late;
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void GradientExchange::during(const std::function<void()>& backward) {
  open();
  try {
    backward();
  } catch (...) {
    close();
    throw;
  }
  close();
}

void GradientExchange::begin_rest() {
  for (; begun_ < slices_.size(); ++begun_) world_.begin_sum(slices_[begun_].gradients);
}

void GradientExchange::end() {
  world_.end_sums();
  begun_ = 0;
}

void GradientExchange::add_late(std::size_t module) {
  const at::NoGradGuard no_grad;
  const Tensor gradients = modules_[module].gradients();
  Tensor late = std::exchange(late_[module], Tensor());
  if (!late.defined()) late = at::zeros_like(gradients);
  world_.sum(late);
  gradients.add_(late);
}

}  // namespace casdm
