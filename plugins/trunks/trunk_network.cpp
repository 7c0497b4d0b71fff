#include "trunk_network.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "blur.h"
#include "casdm/text.h"
#include "convolution/conv2d_3x3.h"
#include "dense_pool.h"

namespace casdm::trunks {
namespace {

/// Of the images of a batch. With fewer, Winograd's method saves little time, and other rounding, which decides where a
/// ReLU or a pool has a kink, makes gradients differ by 1e-3.
constexpr std::int64_t kFewestPixels = 8192;

bool is_large(const Tensor& x) { return x.size(0) * x.size(2) * x.size(3) >= kFewestPixels; }

/// At least in float32, in which 1e-12 is not lost: it keeps the gradient of the root finite at 0.
Tensor l2_pool(const Tensor& x) {
  const Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  Tensor window = at::full({3, 3}, 1.0 / 16, wide.options());  // products of 1/4, 1/2, 1/4, made on the device
  window.select(0, 1).mul_(2);
  window.select(1, 1).mul_(2);
  const Tensor means = at::conv2d(wide.square(), window.expand({x.size(1), 1, 3, 3}), {}, /*stride=*/2, /*padding=*/1,
                                  /*dilation=*/1, /*groups=*/x.size(1));
  return (means + 1e-12).sqrt().to(x.scalar_type());
}

}  // namespace

TrunkNetwork::TrunkNetwork(const Trunk& trunk, MemoryFormat format) : format_(format) {
  for (std::size_t k = 0; k < trunk.slices.size(); ++k) {
    slices_.emplace_back();
    for (const Layer& layer : trunk.slices[k]) {
      slices_.back().push_back({layer, weights_.size()});
      add_weights(text("slice", k + 1, "."), layer);
    }
  }
}

void TrunkNetwork::add_convolution(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
  weights_.emplace_back(name + ".weight", at::empty({out, in, kernel, kernel}));
  weights_.emplace_back(name + ".bias", at::empty({out}));
}

void TrunkNetwork::add_weights(const std::string& slice, const Layer& layer) {
  const std::string name = text(slice, layer.index);
  switch (layer.kind) {
    case Layer::Kind::convolution:
      add_convolution(name, layer.in, layer.out, layer.kernel);
      break;
    case Layer::Kind::blur:
      weights_.emplace_back(name + ".filt", at::empty({layer.in, 1, layer.kernel, layer.kernel}));
      break;
    case Layer::Kind::fire:
      add_convolution(name + ".squeeze", layer.in, layer.squeeze, 1);
      add_convolution(name + ".expand1x1", layer.squeeze, layer.out / 2, 1);
      add_convolution(name + ".expand3x3", layer.squeeze, layer.out / 2, 3);
      break;
    default:
      break;
  }
}

std::vector<Tensor> TrunkNetwork::operator()(const Tensor& x, std::size_t taps) const {
  std::vector<Tensor> result;
  const bool is_faster_last = x.is_cpu() && is_large(x);
  const at::MemoryFormat automatic = is_faster_last ? at::MemoryFormat::ChannelsLast : x.suggest_memory_format();
  Tensor h = convolution::in_format(x, convolution::chosen(format_, automatic));
  for (std::size_t k = 0; k < taps; ++k) {
    for (const Step& step : slices_[k]) h = apply(step, h);
    result.push_back(h);
  }
  return result;
}

Tensor TrunkNetwork::apply(const Step& step, const Tensor& x) const {
  const Layer& layer = step.layer;
  switch (layer.kind) {
    case Layer::Kind::convolution:
      return convolve(step.first_weight, x, layer.stride, layer.padding);
    case Layer::Kind::max_pool:
      if (layer.stride == 1) return dense_max_pool(x, layer.kernel);
      return at::max_pool2d(x, layer.kernel, layer.stride, 0, 1, layer.ceil_mode);
    case Layer::Kind::average_pool:
      return at::avg_pool2d(x, layer.kernel, layer.stride);
    case Layer::Kind::l2_pool:
      return l2_pool(x);
    case Layer::Kind::blur:
      return mirrored_blur(x, weights_[step.first_weight].second, layer.stride, layer.padding);
    case Layer::Kind::fire:
      return fire(step, x);
    case Layer::Kind::relu:
      break;
  }
  // In place: before a ReLU there is always a convolution or a blur, whose gradients do not need their outputs.
  return Tensor(x).relu_();
}

/// On a GPU the weights stay in the format asked for, which cuDNN would otherwise give them at each use; the CPU's fast
/// convolutions take contiguous ones.
Tensor TrunkNetwork::kernel_for(const Tensor& x, const Tensor& weight) const {
  const bool is_last = weight.is_contiguous(at::MemoryFormat::ChannelsLast);
  if (format_ == MemoryFormat::channels_last && x.is_cuda() && !is_last) {
    const at::NoGradGuard no_grad;
    Tensor(weight).set_data(weight.contiguous(at::MemoryFormat::ChannelsLast));
  }
  return weight;
}

Tensor TrunkNetwork::convolve(std::size_t weight, const Tensor& x, std::int64_t stride, std::int64_t padding) const {
  const Tensor kernel = kernel_for(x, weights_[weight].second).to(x.scalar_type());
  const Tensor bias = weights_[weight + 1].second.to(x.scalar_type());
  const bool keeps_size = kernel.size(2) == 3 && stride == 1 && padding == 1;
  if (keeps_size && !convolution::is_left_to_aten(x, kernel, bias)) {
    return convolution::conv2d_3x3(x, kernel, bias);
  }
  // On the CPU, LibTorch brings the weight into the format of the images in each call.
  const bool is_small = x.is_cpu() && format_ == MemoryFormat::auto_ && x.numel() < kernel.numel();
  return at::conv2d(is_small ? x.contiguous() : x, kernel, bias, stride, padding);
}

Tensor TrunkNetwork::fire(const Step& step, const Tensor& x) const {
  const Tensor squeezed = convolve(step.first_weight, x, 1, 0).relu_();
  const Tensor narrow = convolve(step.first_weight + 2, squeezed, 1, 0);
  const Tensor wide = convolve(step.first_weight + 4, squeezed, 1, 1);
  return at::cat({narrow, wide}, 1).relu_();
}

}  // namespace casdm::trunks
