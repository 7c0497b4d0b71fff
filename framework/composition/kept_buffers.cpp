#include "framework/composition/kept_buffers.h"

#include <ATen/ATen.h>

#include <set>

#include "casdm/text.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace {

bool has_elements_of_its_own(const Tensor& tensor) {
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    if (tensor.size(i) > 1 && tensor.stride(i) == 0) return false;
  }
  return true;
}

std::string fault_of_handle(const std::string& name, const Tensor& tensor) {
  if (name.empty()) return "it has a tensor without a name";
  const std::string what = text("its tensor ", quoted(name));
  if (!is_displayable(name)) return what + " has a name with characters that are not printable or not UTF-8";
  if (!tensor.defined()) return what + " is undefined";
  if (tensor.layout() != at::kStrided) return what + " is not dense, so no checkpoint can hold it";
  if (tensor.is_complex()) return text(what, " is ", tensor.scalar_type(), ", which no checkpoint can hold");
  if (!has_elements_of_its_own(tensor)) {
    return text(what, " is expanded: its elements share memory, so a checkpoint cannot be restored to it");
  }
  return "";
}

}  // namespace

std::string fault_of_handles(const NamedTensors& tensors, const NamedTensors& again) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (const std::string fault = fault_of_handle(name, tensor); !fault.empty()) return fault;
    if (!names.insert(name).second) return text("two tensors are named '", name, "'");
  }
  if (again.size() != tensors.size()) return "it lists different tensors when asked again";
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    const bool is_same = again[i].first == name && again[i].second.defined() &&
                         again[i].second.data_ptr() == tensor.data_ptr() && again[i].second.sizes() == tensor.sizes();
    if (is_same) continue;
    return text("its tensor ", quoted(name), " is a different one at each call, such as a copy: what a checkpoint ",
                "restores would be lost. Return the tensor that it computes with");
  }
  return "";
}

std::vector<TensorForm> tensor_forms(const NamedTensors& tensors) {
  std::vector<TensorForm> forms;
  for (const auto& [name, tensor] : tensors) forms.emplace_back(name, tensor.sizes().vec());
  return forms;
}

std::string fault_of_forms(const NamedTensors& tensors, const std::vector<TensorForm>& forms) {
  if (tensors.size() != forms.size()) {
    return text("it has ", tensors.size(), " buffers now and had ", forms.size(), " when it was made, to which a ",
                "checkpoint is restored");
  }
  for (std::size_t i = 0; i < forms.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    if (name == forms[i].first && tensor.defined() && tensor.sizes() == at::IntArrayRef(forms[i].second)) continue;
    return text("its buffer ", quoted(name),
                tensor.defined() ? text(" has the shape ", tensor.sizes()) : " is undefined",
                " now; when it was made, to which a checkpoint is restored, there was ", quoted(forms[i].first),
                " with the shape ", at::IntArrayRef(forms[i].second), ". Make it as large as it will be");
  }
  return "";
}

}  // namespace casdm
