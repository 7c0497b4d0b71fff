#include "element_kernels.h"

#include <ATen/ATen.h>

#include <limits>
#include <utility>

#include "convolution/typed_kernel.h"

namespace casdm::trunks {
namespace {

constexpr std::int64_t kThreads = 256;

constexpr const char* kPlaceSource =
#include "place_device.inc"
    ;

}  // namespace

ElementKernels::ElementKernels(const std::string& name, const std::string& source)
    : of_float_(convolution::typed_kernel(name, at::kFloat, kPlaceSource + source)),
      of_bfloat16_(convolution::typed_kernel(name, at::kBFloat16, kPlaceSource + source)) {}

void ElementKernels::launch(std::vector<Tensor> tensors, const std::vector<std::int64_t>& numbers) const {
  const bool is_float = tensors.back().scalar_type() == at::kFloat;
  const std::int64_t count = tensors.back().numel();
  BlockLaunch elements;
  elements.tensors = std::move(tensors);
  elements.numbers = {count};
  elements.numbers.insert(elements.numbers.end(), numbers.begin(), numbers.end());
  elements.blocks = (count + kThreads - 1) / kThreads;
  elements.threads = kThreads;
  casdm::launch(is_float ? of_float_ : of_bfloat16_, elements);
}

bool takes_element_kernels(const Tensor& x) {
  return takes_block_kernels(x.device()) && x.numel() > 0 &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.numel() <= std::numeric_limits<std::int32_t>::max() - kThreads;
}

}  // namespace casdm::trunks
