#include "norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "casdm/block_kernel.h"
#include "casdm/error.h"
#include "casdm/parallel.h"
#include "norm_device.h"
#include "norm_kernels.h"

namespace casdm::unet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// How an operation on x is split into parts: whole images if there are enough of them for the threads, else groups of
/// channels of each.
struct Parts {
  std::int64_t batch, channels, pixels, groups, splits;

  Parts(const Tensor& x, std::int64_t groups)
      : batch(x.size(0)), channels(x.size(1)), pixels(x.size(2) * x.size(3)), groups(groups) {
    const std::int64_t wanted = batch == 0 ? 1 : (at::get_num_threads() + batch - 1) / batch;
    splits = std::min(wanted, groups);
  }
  std::int64_t count() const { return batch * splits; }
};

/// Part `index` as a slice. Tensors must satisfy `is_fusable`.
template <class T>
struct Part {
  std::int64_t image, channel;
  NormSlice<T> slice;

  Part(const Parts& parts, std::int64_t index, const Tensor& x, const NormArguments& a, const Tensor& mean,
       const Tensor& rstd)
      : image(index / parts.splits) {
    const std::int64_t split = index % parts.splits;
    const std::int64_t first = parts.groups * split / parts.splits;
    const std::int64_t last = parts.groups * (split + 1) / parts.splits;
    const std::int64_t width = parts.channels / parts.groups;
    channel = first * width;
    slice.pixels = parts.pixels;
    slice.channels = (last - first) * width;
    slice.groups = last - first;
    slice.stride = parts.channels;
    slice.silu = a.activation == Activation::silu;
    slice.x = x.const_data_ptr<T>() + offset(parts);
    slice.weight = a.weight.const_data_ptr<float>() + channel;
    slice.bias = a.bias.const_data_ptr<float>() + channel;
    if (a.offset.defined()) slice.offset = a.offset.const_data_ptr<float>() + image * a.offset.stride(0) + channel;
    if (a.scale_shift.defined()) {
      slice.scale = a.scale_shift.const_data_ptr<float>() + image * 2 * parts.channels + channel;
      slice.shift = slice.scale + parts.channels;
    }
    slice.mean = mean.mutable_data_ptr<float>() + image * parts.groups + first;
    slice.rstd = rstd.mutable_data_ptr<float>() + image * parts.groups + first;
  }
  std::int64_t offset(const Parts& parts) const { return image * parts.pixels * parts.channels + channel; }
};

template <class T>
Normalised fused_forward(const Tensor& x, const NormArguments& a) {
  const Parts parts(x, a.groups);
  Normalised result{at::empty_like(x), at::empty({parts.batch, a.groups}, at::kFloat),
                    at::empty({parts.batch, a.groups}, at::kFloat)};
  T* y = result.y.mutable_data_ptr<T>();
  run_parallel(parts.count(), [&](std::int64_t index) {
    const Part<T> part(parts, index, x, a, result.mean, result.rstd);
    norm_forward(part.slice, y + part.offset(parts));
  });
  return result;
}

/// Gradients of x, weight, bias, offset and scale_shift (each of these undefined if there is none).
template <class T>
variable_list fused_backward(const Tensor& x, const NormArguments& a, const Normalised& norm, const Tensor& grad_y) {
  const Parts parts(x, a.groups);
  Tensor grad_x = at::empty_like(x);
  const Tensor shares = at::empty({2, parts.batch, parts.channels}, at::kFloat);
  const Tensor grad_offset = a.offset.defined() ? at::empty(a.offset.sizes(), at::kFloat) : Tensor();
  Tensor grad_scale_shift = a.scale_shift.defined() ? at::empty_like(a.scale_shift) : Tensor();
  run_parallel(parts.count(), [&](std::int64_t index) {
    const Part<T> part(parts, index, x, a, norm.mean, norm.rstd);
    NormGradients<T> out;
    out.x = grad_x.mutable_data_ptr<T>() + part.offset(parts);
    out.weight = shares.mutable_data_ptr<float>() + part.image * parts.channels + part.channel;
    out.bias = out.weight + parts.batch * parts.channels;
    if (grad_offset.defined()) {
      out.offset = grad_offset.mutable_data_ptr<float>() + part.image * parts.channels + part.channel;
    }
    if (grad_scale_shift.defined()) {
      out.scale = grad_scale_shift.mutable_data_ptr<float>() + part.image * 2 * parts.channels + part.channel;
      out.shift = out.scale + parts.channels;
    }
    norm_backward(part.slice, grad_y.const_data_ptr<T>() + part.offset(parts), out);
  });
  const Tensor sums = shares.sum(1);
  return {grad_x, sums[0], sums[1], grad_offset, grad_scale_shift};
}

Normalised fused_forward(const Tensor& x, const NormArguments& a) {
  if (!x.is_cpu()) return norm_forward_on_device(x, a);
  return x.scalar_type() == at::kFloat ? fused_forward<float>(x, a) : fused_forward<at::BFloat16>(x, a);
}

variable_list fused_backward(const Tensor& x, const NormArguments& a, const Normalised& norm, const Tensor& grad_y) {
  if (!x.is_cpu()) return norm_backward_on_device(x, a, norm, grad_y);
  return x.scalar_type() == at::kFloat ? fused_backward<float>(x, a, norm, grad_y)
                                       : fused_backward<at::BFloat16>(x, a, norm, grad_y);
}

class FusedNorm : public torch::autograd::Function<FusedNorm> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const std::optional<Tensor>& offset, const std::optional<Tensor>& scale_shift,
                        std::int64_t groups, bool silu) {
    const NormArguments arguments{weight,
                                  bias,
                                  offset.value_or(Tensor()),
                                  scale_shift.value_or(Tensor()),
                                  groups,
                                  silu ? Activation::silu : Activation::none};
    const Normalised norm = fused_forward(x, arguments);
    ctx->saved_data["groups"] = groups;
    ctx->saved_data["silu"] = silu;
    ctx->save_for_backward({x, weight, bias, arguments.offset, arguments.scale_shift, norm.mean, norm.rstd});
    return norm.y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    if (c10::GradMode::is_enabled()) throw Error("the U-Net's gradients cannot be differentiated again");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor& x = saved[0];
    const NormArguments arguments{saved[1],
                                  saved[2],
                                  saved[3],
                                  saved[4],
                                  ctx->saved_data["groups"].toInt(),
                                  ctx->saved_data["silu"].toBool() ? Activation::silu : Activation::none};
    const Normalised norm{{}, saved[5], saved[6]};
    const Tensor grad_y = grads[0].to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    variable_list result = fused_backward(x, arguments, norm, grad_y);
    result.resize(7);  // groups and silu have no gradient
    return result;
  }
};

bool is_fusable(const Tensor& x, const NormArguments& a) {
  const bool has_kernels = x.is_cpu() || (takes_block_kernels(x.device()) && fits_norm_kernels(x.size(1), a.groups));
  return has_kernels && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         a.weight.scalar_type() == at::kFloat && a.bias.scalar_type() == at::kFloat && a.weight.is_contiguous() &&
         a.bias.is_contiguous() && x.is_contiguous(at::MemoryFormat::ChannelsLast) && x.numel() > 0;
}

Tensor composed_group_norm(const Tensor& x, const NormArguments& a) {
  const at::ScalarType dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  Tensor shifted = x.to(dtype);
  if (a.offset.defined()) shifted = shifted + a.offset.to(dtype).unsqueeze(-1).unsqueeze(-1);
  Tensor y = at::group_norm(shifted, a.groups, a.weight.to(dtype), a.bias.to(dtype), kNormEpsilon);
  if (a.scale_shift.defined()) {
    const std::vector<Tensor> parts = a.scale_shift.to(dtype).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
    y = at::addcmul(parts[1], y, parts[0] + 1);
  }
  if (a.activation == Activation::silu) y = at::silu(y);
  // That of CUDA is contiguous.
  return y.to(x.options(), /*non_blocking=*/false, /*copy=*/false, x.suggest_memory_format());
}

}  // namespace

Tensor group_norm(const Tensor& x, const NormArguments& a) {
  if (!is_fusable(x, a)) return composed_group_norm(x, a);
  std::optional<Tensor> offset, scale_shift;
  if (a.offset.defined()) {
    offset = a.offset.to(at::kFloat);
    if (offset->stride(1) != 1) offset = offset->contiguous();
  }
  if (a.scale_shift.defined()) scale_shift = a.scale_shift.to(at::kFloat).contiguous();
  return FusedNorm::apply(x, a.weight, a.bias, offset, scale_shift, a.groups, a.activation == Activation::silu);
}

}  // namespace casdm::unet
