#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <functional>
#include <set>
#include <string_view>
#include <vector>

namespace casdm::testing {

namespace detail {
inline std::function<void(std::string_view, c10::ArrayRef<const c10::IValue>)> observer;
}  // namespace detail

/// Calls `note` with the name and the arguments of each operator of LibTorch that `work` calls in this thread, and of
/// its backward passes.
template <class Work>
void observe_operators(const std::function<void(std::string_view, c10::ArrayRef<const c10::IValue>)>& note,
                       const Work& work) {
  detail::observer = note;
  const auto pass_on = [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
    detail::observer(function.name(), function.inputs());
    return nullptr;
  };
  const at::CallbackHandle handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(pass_on).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  work();
  at::removeCallback(handle);
}

/// What convolutions get: images and kernels of more than one pixel and channel, whose formats matter.
struct ConvolutionFormats {
  std::set<at::MemoryFormat> images, kernels;
  std::set<at::MemoryFormat> gradients;  ///< of their results, except of images with at most three channels
};

template <class Work>
ConvolutionFormats formats_of_convolutions(const Work& work) {
  ConvolutionFormats formats;
  const auto add = [](const c10::IValue& argument, std::set<at::MemoryFormat>& to) {
    const at::Tensor& x = argument.toTensor();
    if (x.dim() == 4 && x.size(1) > 1 && x.size(2) * x.size(3) > 1) to.insert(x.suggest_memory_format());
  };
  observe_operators(
      [&](std::string_view name, c10::ArrayRef<const c10::IValue> arguments) {
        const bool is_backward = name == "aten::convolution_backward";
        if (!is_backward && name != "aten::convolution") return;
        if (is_backward && arguments[0].toTensor().size(1) > 3) add(arguments[0], formats.gradients);
        add(arguments[is_backward ? 1 : 0], formats.images);
        add(arguments[is_backward ? 2 : 1], formats.kernels);
      },
      work);
  return formats;
}

}  // namespace casdm::testing
