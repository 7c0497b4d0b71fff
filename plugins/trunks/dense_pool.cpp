#include "dense_pool.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "element_kernels.h"

namespace casdm::trunks {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kPoolSource =
#include "dense_pool_device.inc"
    ;

at::MemoryFormat format_of(const Tensor& x) {
  return x.is_contiguous() ? at::MemoryFormat::Contiguous : at::MemoryFormat::ChannelsLast;
}

/// One axis at a time, for devices and types without a kernel of ours: the gradient of at::max_pool2d is not
/// deterministic on a GPU.
Tensor composed_max_pool(const Tensor& x, std::int64_t kernel) {
  Tensor result = x;
  for (const std::int64_t axis : {2, 3}) {
    const Tensor input = result;
    const std::int64_t size = input.size(axis) - kernel + 1;
    result = input.narrow(axis, 0, size);
    for (std::int64_t i = 1; i < kernel; ++i) result = at::maximum(result, input.narrow(axis, i, size));
  }
  return result;
}

/// Its gradient, which can be differentiated again.
Tensor composed_gradient(const Tensor& x, std::int64_t kernel, const Tensor& grad_y) {
  const Tensor leaf = x.detach().requires_grad_();
  return torch::autograd::grad({composed_max_pool(leaf, kernel)}, {leaf}, {grad_y}, true, /*create_graph=*/true)[0];
}

class DensePool : public torch::autograd::Function<DensePool> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, std::int64_t kernel) {
    const std::int64_t rows = x.size(2) - kernel + 1, columns = x.size(3) - kernel + 1;
    const Tensor y = at::empty({x.size(0), x.size(1), rows, columns}, x.options(), format_of(x));
    static const ElementKernels kernels("dense_pool", kPoolSource);
    kernels.launch({x, y}, numbers(x, kernel));
    ctx->save_for_backward({x});
    ctx->saved_data["kernel"] = kernel;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor x = ctx->get_saved_variables()[0];
    const std::int64_t kernel = ctx->saved_data["kernel"].toInt();
    if (c10::GradMode::is_enabled()) return {composed_gradient(x, kernel, grads[0]), {}};
    const Tensor grad_y = grads[0].to(x.scalar_type()).contiguous(format_of(x));
    const Tensor grad_x = at::empty_like(x);
    static const ElementKernels kernels("dense_pool_gradient", kPoolSource);
    kernels.launch({x, grad_y, grad_x}, numbers(x, kernel));
    return {grad_x, {}};
  }

 private:
  static std::vector<std::int64_t> numbers(const Tensor& x, std::int64_t kernel) {
    return {x.is_contiguous() ? 1 : x.size(1), x.size(2), x.size(3), kernel};
  }
};

bool takes_pool_kernels(const Tensor& x, std::int64_t kernel) {
  return takes_element_kernels(x) && std::min(x.size(2), x.size(3)) >= kernel;
}

}  // namespace

Tensor dense_max_pool(const Tensor& x, std::int64_t kernel) {
  // In the other format it takes 25 times as long.
  if (x.is_cpu()) {
    const Tensor last = x.contiguous(at::MemoryFormat::ChannelsLast);
    return at::max_pool2d(last, kernel, /*stride=*/1).contiguous(x.suggest_memory_format());
  }
  if (!takes_pool_kernels(x, kernel)) return composed_max_pool(x, kernel);
  return DensePool::apply(x.contiguous(x.suggest_memory_format()), kernel);
}

}  // namespace casdm::trunks
