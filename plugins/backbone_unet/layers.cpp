#include "layers.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <optional>

#include "convolution/conv2d_3x3.h"
#include "convolution/memory_format.h"
#include "norm.h"
#include "weight_casts.h"

namespace casdm::unet {

namespace {

LayerParameters layer(ParameterMaker& make, const std::string& name, at::IntArrayRef weight, Start start) {
  return start == Start::zero ? make.zero_layer(name, weight) : make.layer(name, weight);
}

}  // namespace

Linear::Linear(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out)
    : LayerParameters(make.layer(name, {out, in})) {}

Tensor Linear::operator()(const Tensor& x) const { return at::linear(x, cast(weight), cast(bias)); }

Conv2d::Conv2d(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
               Start start, std::int64_t stride, Convolution convolution)
    : LayerParameters(layer(make, name, {out, in, kernel, kernel}, start)),
      stride(stride),
      padding(kernel / 2),
      convolution(convolution) {}

Tensor Conv2d::operator()(const Tensor& x) const {
  if (convolution == Convolution::auto_ && padding == 1 && stride == 1 && x.is_cpu()) {
    return casdm::convolution::conv2d_3x3(x, weight, bias);
  }
  return at::conv2d(x, kernel_for(x, cast(weight)), cast(bias), stride, padding);
}

PointwiseConv::PointwiseConv(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out,
                             Start start)
    : LayerParameters(layer(make, name, {out, in, 1}, start)) {}

Tensor PointwiseConv::operator()(const Tensor& x) const {
  // As a matrix: sequences that are not contiguous would be multiplied by other operators where no gradient of the
  // weight is wanted, and rounded differently.
  const Tensor rows = at::linear(x.flatten(0, 1), cast(weight).squeeze(-1), cast(bias));
  return rows.unflatten(0, {x.size(0), x.size(1)});
}

GroupNorm::GroupNorm(ParameterMaker& make, const std::string& name, std::int64_t channels, std::int64_t groups)
    : weight(make.constant(name + ".weight", {channels}, 1.0)),
      bias(make.constant(name + ".bias", {channels}, 0.0)),
      groups(groups) {}

Tensor GroupNorm::operator()(const Tensor& x) const {
  return group_norm(x, {weight, bias, {}, {}, groups, Activation::none});
}

Tensor GroupNorm::silu(const Tensor& x) const {
  return group_norm(x, {weight, bias, {}, {}, groups, Activation::silu});
}

Tensor GroupNorm::scaled_silu(const Tensor& x, const Tensor& scale_shift) const {
  return group_norm(x, {weight, bias, {}, scale_shift, groups, Activation::silu});
}

Tensor GroupNorm::offset_silu(const Tensor& x, const Tensor& offset) const {
  return group_norm(x, {weight, bias, offset, {}, groups, Activation::silu});
}

Tensor as_input(const Tensor& x, at::MemoryFormat format) {
  const at::DeviceType device = x.device().type();
  const bool is_cast = !x.is_cpu() && x.scalar_type() == at::kFloat && at::autocast::is_autocast_enabled(device);
  return convolution::in_format(x, format, is_cast ? at::autocast::get_autocast_dtype(device) : x.scalar_type());
}

Tensor kernel_for(const Tensor& x, const Tensor& weight) {
  if (!x.is_cuda()) return weight;
  if (!at::autocast::is_autocast_enabled(x.device().type())) return weight.contiguous(x.suggest_memory_format());
  const at::ScalarType dtype = at::autocast::get_autocast_dtype(x.device().type());
  return weight.to(weight.options().dtype(dtype), /*non_blocking=*/false, /*copy=*/false, x.suggest_memory_format());
}

Tensor doubled(const Tensor& x) {
  // CUDA's autocast would compute it, and everything after it, in float32.
  std::optional<c10::impl::ExcludeDispatchKeyGuard> as_it_is;
  if (x.is_cuda()) as_it_is.emplace(c10::autocast_dispatch_keyset);
  return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

}  // namespace casdm::unet
