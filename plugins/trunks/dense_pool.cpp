#include "dense_pool.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "casdm/block_kernel.h"
#include "casdm/text.h"

namespace casdm::trunks {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kThreads = 256;

constexpr const char* kPoolSource =
#include "dense_pool_device.inc"
    ;

BlockKernel pool_kernel(const char* name, bool is_float) {
  const std::string own_name = text(name, is_float ? "_float" : "_bfloat16");
  return {own_name,
          text("using Value = ", is_float ? "float" : "BFloat16", ";\n", kPoolSource, "template <int kPhase> void ",
               own_name, "(const Block& block) { ", name, "<kPhase>(block); }\n")};
}

struct PoolKernels {
  BlockKernel of_float, of_bfloat16;
  explicit PoolKernels(const char* name) : of_float(pool_kernel(name, true)), of_bfloat16(pool_kernel(name, false)) {}
};

/// One thread for each element of the last of `tensors`, which lie in memory as x does.
void launch_pool(const PoolKernels& kernels, const Tensor& x, std::int64_t kernel, std::vector<Tensor> tensors) {
  const std::int64_t count = tensors.back().numel();
  BlockLaunch pooling;
  pooling.tensors = std::move(tensors);
  pooling.numbers = {count, x.is_contiguous() ? 1 : x.size(1), x.size(2), x.size(3), kernel};
  pooling.blocks = (count + kThreads - 1) / kThreads;
  pooling.threads = kThreads;
  launch(x.scalar_type() == at::kFloat ? kernels.of_float : kernels.of_bfloat16, pooling);
}

at::MemoryFormat format_of(const Tensor& x) {
  return x.is_contiguous() ? at::MemoryFormat::Contiguous : at::MemoryFormat::ChannelsLast;
}

/// One axis at a time: at::max_pool2d, which also records the position of each maximum, takes 25 times as long.
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

/// Images on the CPU, channels-last: rows of places, each with the values of its channels.
struct Rows {
  std::int64_t images, rows, width, channels;
  explicit Rows(const Tensor& x)
      : images(x.size(0)), rows(x.size(2)), width(x.size(3) * x.size(1)), channels(x.size(1)) {}
  std::int64_t size() const { return rows * width; }
};

/// NaN if one of them is, as from at::maximum.
inline float larger(float a, float b) { return (a >= b) | (a != a) ? a : b; }

/// out[i] is the largest of in[i], in[i + step] and so on, `number` of them.
void maxima(const float* in, std::int64_t step, std::int64_t number, std::int64_t count, float* __restrict out) {
  std::copy_n(in, count, out);
  for (std::int64_t k = 1; k < number; ++k) {
    const float* __restrict other = in + k * step;
    for (std::int64_t i = 0; i < count; ++i) out[i] = larger(out[i], other[i]);
  }
}

/// What max(a, b) passes on of its gradient: first[i] keeps the part of a[i], and that of b[i] is added to second[i].
/// Two that are equal get half each, as from at::maximum.
void divide(const float* __restrict a, const float* __restrict b, std::int64_t count, float* __restrict first,
            float* __restrict second) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float of_first = first[i] * (a[i] > b[i] ? 1.0F : a[i] == b[i] ? 0.5F : 0.0F);
    second[i] += first[i] - of_first;
    first[i] = of_first;
  }
}

/// Adds to grad_in the gradient of maxima() of values that are `count` apart. `grad` and `scratch` are overwritten.
void add_gradient(const float* in, std::int64_t number, std::int64_t count, float* grad, float* grad_in,
                  float* scratch) {
  for (std::int64_t k = number - 1; k > 0; --k) {
    maxima(in, count, k, count, scratch);
    divide(scratch, in + k * count, count, grad, grad_in + k * count);
  }
  for (std::int64_t i = 0; i < count; ++i) grad_in[i] += grad[i];
}

void pool_rows(const Tensor& x, std::int64_t kernel, const Tensor& y) {
  const Rows in(x), out(y);
  at::parallel_for(0, in.images, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> columns(static_cast<std::size_t>(in.width));
    for (std::int64_t row = begin * out.rows; row < end * out.rows; ++row) {
      const float* values = x.const_data_ptr<float>() + row / out.rows * in.size() + row % out.rows * in.width;
      maxima(values, in.width, kernel, in.width, columns.data());
      maxima(columns.data(), in.channels, kernel, out.width, y.mutable_data_ptr<float>() + row * out.width);
    }
  });
}

Tensor gradient_of_rows(const Tensor& x, std::int64_t kernel, const Tensor& grad_y) {
  const Rows in(x), out(grad_y);
  Tensor grad_x = at::zeros_like(x);
  at::parallel_for(0, in.images, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto width = static_cast<std::size_t>(in.width);
    std::vector<float> columns(width), of_columns(width), of_windows(width), scratch(width);
    for (std::int64_t row = begin * out.rows; row < end * out.rows; ++row) {
      const std::int64_t first = row / out.rows * in.size() + row % out.rows * in.width;
      const float* values = x.const_data_ptr<float>() + first;
      maxima(values, in.width, kernel, in.width, columns.data());
      std::copy_n(grad_y.const_data_ptr<float>() + row * out.width, out.width, of_windows.data());
      std::fill(of_columns.begin(), of_columns.end(), 0.0F);
      for (std::int64_t place = 0; place < out.width; place += in.channels) {
        add_gradient(columns.data() + place, kernel, in.channels, of_windows.data() + place, of_columns.data() + place,
                     scratch.data());
      }
      add_gradient(values, kernel, in.width, of_columns.data(), grad_x.mutable_data_ptr<float>() + first,
                   scratch.data());
    }
  });
  return grad_x;
}

class DensePool : public torch::autograd::Function<DensePool> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, std::int64_t kernel) {
    const std::int64_t rows = x.size(2) - kernel + 1, columns = x.size(3) - kernel + 1;
    const Tensor y = at::empty({x.size(0), x.size(1), rows, columns}, x.options(), format_of(x));
    if (x.is_cpu()) {
      pool_rows(x, kernel, y);
    } else {
      static const PoolKernels kernels("dense_pool");
      launch_pool(kernels, x, kernel, {x, y});
    }
    ctx->save_for_backward({x});
    ctx->saved_data["kernel"] = kernel;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor x = ctx->get_saved_variables()[0];
    const std::int64_t kernel = ctx->saved_data["kernel"].toInt();
    if (c10::GradMode::is_enabled()) return {composed_gradient(x, kernel, grads[0]), {}};
    const Tensor grad_y = grads[0].to(x.scalar_type()).contiguous(format_of(x));
    if (x.is_cpu()) return {gradient_of_rows(x, kernel, grad_y), {}};
    const Tensor grad_x = at::empty_like(x);
    static const PoolKernels kernels("dense_pool_gradient");
    launch_pool(kernels, x, kernel, {x, grad_y, grad_x});
    return {grad_x, {}};
  }
};

bool takes_pool_kernels(const Tensor& x, std::int64_t kernel) {
  if (x.is_cpu()) {
    return x.scalar_type() == at::kFloat && std::min(x.size(2), x.size(3)) >= kernel && !x.is_contiguous() &&
           x.is_contiguous(at::MemoryFormat::ChannelsLast);
  }
  return takes_block_kernels(x.device()) && x.numel() > 0 &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.numel() <= std::numeric_limits<std::int32_t>::max() - kThreads && std::min(x.size(2), x.size(3)) >= kernel;
}

}  // namespace

Tensor dense_max_pool(const Tensor& x, std::int64_t kernel) {
  if (!takes_pool_kernels(x, kernel)) return composed_max_pool(x, kernel);
  return DensePool::apply(x.contiguous(x.suggest_memory_format()), kernel);
}

}  // namespace casdm::trunks
