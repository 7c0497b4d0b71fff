#include "conv2d_3x3.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <optional>
#include <vector>

#include "winograd.h"

namespace casdm::convolution {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const std::vector<std::int64_t> kOnes = {1, 1}, kNone = {0, 0};

/// Gradients of x, weight and bias by LibTorch, as far as `wanted`.
variable_list aten_gradients(const Tensor& grad, const Tensor& x, const Tensor& weight, std::array<bool, 3> wanted) {
  const std::int64_t out = weight.size(0);
  auto [of_x, of_weight, of_bias] = at::convolution_backward(grad, x, weight, at::IntArrayRef(out), kOnes, kOnes, kOnes,
                                                             /*transposed=*/false, kNone, /*groups=*/1, wanted);
  return {of_x, of_weight, of_bias};
}

class Conv2d3x3 : public torch::autograd::Function<Conv2d3x3> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    // Profilers, and what counts products, see LibTorch's operator.
    RECORD_FUNCTION("aten::convolution",
                    std::vector<c10::IValue>({x, weight, bias, kOnes, kOnes, kOnes, false, kNone, 1}));
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value();
    return winograd_conv2d(x, weight, bias.value_or(Tensor()));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &grad = grads[0];
    const bool wants_bias = ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2);
    const std::array<bool, 3> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1), wants_bias};
    if (c10::GradMode::is_enabled()) return aten_gradients(grad, x, weight, wanted);
    RECORD_FUNCTION(
        "aten::convolution_backward",
        std::vector<c10::IValue>({grad, x, weight, std::vector<std::int64_t>{weight.size(0)}, kOnes, kOnes, kOnes,
                                  false, kNone, 1, c10::List<bool>({wanted[0], wanted[1], wanted[2]})}));
    const Tensor grad_y = grad.contiguous(at::MemoryFormat::ChannelsLast);
    return {wanted[0] ? winograd_input_gradient(grad_y, weight) : Tensor(),
            wanted[1] ? winograd_weight_gradient(grad_y, x) : Tensor(), wanted[2] ? grad_y.sum({0, 2, 3}) : Tensor()};
  }
};

bool is_plain_float(const Tensor& tensor) {
  return tensor.is_cpu() && tensor.layout() == at::kStrided && tensor.scalar_type() == at::kFloat && !tensor.is_neg();
}

/// From this number on, the transform of the weight pays for itself.
constexpr std::int64_t kFewestTiles = 16;
/// Of the 16 of a tile, on average: sizes that are no multiples of 4 leave the tiles at the edges partly empty.
constexpr std::int64_t kFewestPixels = 10;

}  // namespace

bool is_left_to_aten(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const bool is_suited = is_plain_float(x) && is_plain_float(weight) && weight.is_contiguous() &&
                         (!bias.defined() || (is_plain_float(bias) && bias.is_contiguous())) &&
                         x.is_contiguous(at::MemoryFormat::ChannelsLast) && has_winograd(x, weight) &&
                         !at::autocast::is_autocast_enabled(at::kCPU);
  if (!is_suited) return true;
  const std::int64_t tiles = winograd_tiles(x), pixels = x.size(0) * x.size(2) * x.size(3);
  return tiles < kFewestTiles || pixels < kFewestPixels * tiles;
}

Tensor conv2d_3x3(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (is_left_to_aten(x, weight, bias)) return at::conv2d(x, weight, bias, 1, 1);
  return Conv2d3x3::apply(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

}  // namespace casdm::convolution
