#include "norm_device.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/block_kernel.h"
#include "casdm/text.h"
#include "convolution/typed_kernel.h"
#include "norm_kernels.h"

namespace casdm::unet {
namespace {

constexpr std::int64_t kMostThreads = 512;
constexpr std::int64_t kSlab = 64;  // channels that a block reads side by side, unless a group is wider

constexpr const char* kSource =
#include "norm_device.inc"
    ;

/// How an image is divided into blocks.
struct Division {
  std::int64_t batch, channels, pixels, width, slab, rows;

  Division(const Tensor& x, std::int64_t groups)
      : batch(x.size(0)), channels(x.size(1)), pixels(x.size(2) * x.size(3)), width(channels / groups) {
    std::int64_t groups_of_slab = std::max<std::int64_t>(kSlab / width, 1);
    while (groups % groups_of_slab != 0) --groups_of_slab;
    slab = groups_of_slab * width;
    rows = std::clamp<std::int64_t>(kMostThreads / slab, 1, pixels);
  }
  BlockLaunch launch(std::vector<Tensor> tensors, const NormArguments& a) const {
    BlockLaunch result;
    result.tensors = std::move(tensors);
    const std::int64_t offset_stride = a.offset.defined() ? a.offset.stride(0) : 0;
    result.numbers = {channels, pixels, width, slab, a.activation == Activation::silu ? 1 : 0, batch, offset_stride};
    result.blocks = batch * (channels / slab);
    result.threads = rows * slab;
    result.shared = 2 * rows * slab + 2 * (slab / width);
    return result;
  }
};

BlockKernel kernel(const char* name, at::ScalarType type) {
  constexpr int kPhases = 5;
  return convolution::typed_kernel(name, type, text("constexpr double kNormEpsilon = ", kNormEpsilon, ";\n", kSource),
                                   kPhases);
}

}  // namespace

bool fits_norm_kernels(std::int64_t channels, std::int64_t groups) {
  return channels % groups == 0 && channels / groups <= kMostThreads;
}

Normalised norm_forward_on_device(const Tensor& x, const NormArguments& a) {
  static const BlockKernel of_float = kernel("norm_forward", at::kFloat);
  static const BlockKernel of_bfloat16 = kernel("norm_forward", at::kBFloat16);
  const auto of_groups = [&] { return at::empty({x.size(0), a.groups}, x.options().dtype(at::kFloat)); };
  Normalised result{at::empty_like(x), of_groups(), of_groups()};
  launch(
      x.scalar_type() == at::kFloat ? of_float : of_bfloat16,
      Division(x, a.groups)
          .launch({x, a.weight, a.bias, a.scale_shift, result.mean, result.rstd, result.y, {}, {}, {}, a.offset}, a));
  return result;
}

std::vector<Tensor> norm_backward_on_device(const Tensor& x, const NormArguments& a, const Normalised& norm,
                                            const Tensor& grad_y) {
  static const BlockKernel of_float = kernel("norm_backward", at::kFloat);
  static const BlockKernel of_bfloat16 = kernel("norm_backward", at::kBFloat16);
  const Tensor grad_x = at::empty_like(x);
  const Tensor shares = at::empty({2, x.size(0), x.size(1)}, x.options().dtype(at::kFloat));
  const Tensor grad_offset = a.offset.defined() ? at::empty(a.offset.sizes(), a.offset.options()) : Tensor();
  const Tensor grad_scale_shift = a.scale_shift.defined() ? at::empty_like(a.scale_shift) : Tensor();
  launch(x.scalar_type() == at::kFloat ? of_float : of_bfloat16,
         Division(x, a.groups)
             .launch({x, a.weight, a.bias, a.scale_shift, norm.mean, norm.rstd, grad_y, grad_x, shares,
                      grad_scale_shift, a.offset, grad_offset},
                     a));
  const Tensor sums = shares.sum(1);
  return {grad_x, sums[0], sums[1], grad_offset, grad_scale_shift};
}

}  // namespace casdm::unet
