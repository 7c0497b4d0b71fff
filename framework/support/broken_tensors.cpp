#include "framework/support/broken_tensors.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

std::int64_t count(const Tensor& of) { return of.sum().item<std::int64_t>(); }

}  // namespace

void refuse_nan(const NamedTensors& tensors, const std::string& source) {
  std::int64_t broken = 0;
  std::string first;
  for (const auto& [name, tensor] : tensors) {
    const std::int64_t bad = tensor.is_floating_point() ? count(tensor.isnan()) : 0;
    if (bad > 0 && ++broken == 1)
      first = text(quoted(name), " holds NaN, in ", bad, " of ", tensor.numel(), " numbers");
  }
  if (broken == 0) return;
  throw Error(text(source, ": the tensor ", first,
                   broken > 1 ? text(" (", broken, " of ", tensors.size(), " tensors do)") : "",
                   ". The training that saved it had diverged: take an earlier checkpoint of it"));
}

std::string first_infinite(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (tensor.is_floating_point() && count(tensor.isinf()) > 0) return name;
  }
  return {};
}

}  // namespace casdm
