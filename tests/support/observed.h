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

/// The formats of the images that convolutions with more than one pixel get in `work`, forward and, of the images and
/// their gradients, backward.
template <class Work>
std::set<at::MemoryFormat> formats_of_convolutions(const Work& work) {
  std::set<at::MemoryFormat> formats;
  const auto note = [&](std::string_view name, c10::ArrayRef<const c10::IValue> arguments) {
    const std::size_t images = name == "aten::convolution" ? 1 : name == "aten::convolution_backward" ? 2 : 0;
    for (std::size_t i = 0; i < images; ++i) {
      const at::Tensor x = arguments[i].toTensor();
      if (x.dim() == 4 && x.size(2) * x.size(3) > 1) formats.insert(x.suggest_memory_format());
    }
  };
  observe_operators(note, work);
  return formats;
}

}  // namespace casdm::testing
