#include "blur.h"

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

constexpr const char* kBlurSource =
#include "blur_device.inc"
    ;

/// The positions -padding..size-1+padding, reflected into 0..size-1 without repeating the edge, as often as needed.
Tensor mirrored_positions(std::int64_t size, std::int64_t padding, const at::Device& device) {
  const std::int64_t period = std::max<std::int64_t>(2 * (size - 1), 1);
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(device);
  const Tensor position = at::arange(-padding, size + padding, options).remainder(period);
  return at::minimum(position, (period - position).remainder(period));
}

/// at::reflection_pad2d refuses maps of at most `padding` pixels, to which small images shrink.
bool is_mirrored_once(const Tensor& x, std::int64_t padding) { return std::min(x.size(2), x.size(3)) > padding; }

Tensor reflect(const Tensor& x, std::int64_t padding) {
  if (is_mirrored_once(x, padding)) return at::reflection_pad2d(x, {padding, padding, padding, padding});
  return x.index_select(2, mirrored_positions(x.size(2), padding, x.device()))
      .index_select(3, mirrored_positions(x.size(3), padding, x.device()));
}

Tensor composed_blur(const Tensor& x, const Tensor& filter, std::int64_t stride, std::int64_t padding) {
  Tensor padded = reflect(x, padding);
  if (!x.is_cpu()) padded = padded.contiguous(x.suggest_memory_format());
  const std::int64_t no_padding = 0;
  return at::conv2d(padded, filter.to(x.scalar_type()), {}, stride, no_padding, /*dilation=*/1, /*groups=*/x.size(1));
}

class MirroredBlur : public torch::autograd::Function<MirroredBlur> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& filter, std::int64_t stride,
                        std::int64_t padding) {
    const auto blurred = [&](std::int64_t size) { return (size + 2 * padding - filter.size(2)) / stride + 1; };
    const Tensor y = at::empty({x.size(0), x.size(1), blurred(x.size(2)), blurred(x.size(3))}, x.options(),
                               at::MemoryFormat::ChannelsLast);
    static const ElementKernels kernels("mirrored_blur", kBlurSource);
    kernels.launch({filter, x, y}, numbers(x.sizes(), filter, stride, padding));
    ctx->save_for_backward({filter});
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor filter = ctx->get_saved_variables()[0];
    const std::vector<std::int64_t> sizes = ctx->saved_data["sizes"].toIntVector();
    const std::int64_t stride = ctx->saved_data["stride"].toInt(), padding = ctx->saved_data["padding"].toInt();
    if (c10::GradMode::is_enabled()) {
      const Tensor any = at::zeros(sizes, grads[0].options()).requires_grad_();  // it is linear
      const Tensor y = composed_blur(any, filter, stride, padding);
      return {torch::autograd::grad({y}, {any}, {grads[0]}, true, /*create_graph=*/true)[0], {}, {}, {}};
    }
    const Tensor grad_y = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    const Tensor grad_x = at::empty(sizes, grad_y.options(), at::MemoryFormat::ChannelsLast);
    static const ElementKernels kernels("mirrored_blur_gradient", kBlurSource);
    kernels.launch({filter, grad_y, grad_x}, numbers(sizes, filter, stride, padding));
    return {grad_x, {}, {}, {}};
  }

 private:
  static std::vector<std::int64_t> numbers(at::IntArrayRef of_x, const Tensor& filter, std::int64_t stride,
                                           std::int64_t padding) {
    return {of_x[1], of_x[2], of_x[3], filter.size(2), stride, padding};
  }
};

bool takes_blur_kernels(const Tensor& x, const Tensor& filter, std::int64_t padding) {
  return takes_element_kernels(x) && x.is_contiguous(at::MemoryFormat::ChannelsLast) && !x.is_contiguous() &&
         filter.scalar_type() == at::kFloat && filter.is_contiguous() && is_mirrored_once(x, padding);
}

}  // namespace

Tensor mirrored_blur(const Tensor& x, const Tensor& filter, std::int64_t stride, std::int64_t padding) {
  if (takes_blur_kernels(x, filter, padding)) return MirroredBlur::apply(x, filter, stride, padding);
  return composed_blur(x, filter, stride, padding);
}

}  // namespace casdm::trunks
