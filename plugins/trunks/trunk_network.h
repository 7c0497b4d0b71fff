#pragma once

#include <vector>

#include "casdm/module.h"
#include "casdm/options.h"
#include "convolution/memory_format.h"
#include "trunks.h"

namespace casdm::trunks {

using convolution::MemoryFormat;

/// Declares the option `memory_format` of a component whose trunk has the format that is the member `format`.
template <class Options>
void describe_format(Schema<Options>& s, MemoryFormat Options::*format) {
  s.option(
      "memory_format", format,
      "How images inside the network lie in memory: \"contiguous\" channel by channel, \"channels_last\" pixel by "
      "pixel; \"auto\": on the CPU pixel by pixel unless the batch is small, on a GPU as they come. The results are "
      "the same up to rounding; docs/cuda.md says what each format costs.");
}

/// A trunk with its weights, which are fixed: gradients only flow to the images.
class TrunkNetwork {
 public:
  /// Weights are left uninitialised for load_state.
  /// @param format  of the images inside; auto: theirs, and on the CPU channels-last from 8192 pixels in a batch on
  explicit TrunkNetwork(const Trunk& trunk, MemoryFormat format = MemoryFormat::auto_);

  /// The weights under their published names ("slice1.0.weight"), shared with this object.
  const NamedTensors& weights() const { return weights_; }

  /// @param x     [B, 3, H, W], normalised as the network was trained; any floating dtype
  /// @param taps  number of taps to compute, counted from the first
  /// @return      the taps, [B, channels, h, w] each
  std::vector<Tensor> operator()(const Tensor& x, std::size_t taps) const;
  std::vector<Tensor> operator()(const Tensor& x) const { return (*this)(x, slices_.size()); }

 private:
  /// A layer with the indices of its weights in weights_.
  struct Step {
    Layer layer;
    std::size_t first_weight = 0;
  };

  void add_convolution(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel);
  void add_weights(const std::string& slice, const Layer& layer);
  Tensor apply(const Step& step, const Tensor& x) const;
  Tensor kernel_for(const Tensor& x, const Tensor& weight) const;
  Tensor convolve(std::size_t weight, const Tensor& x, std::int64_t stride, std::int64_t padding) const;
  Tensor fire(const Step& step, const Tensor& x) const;

  MemoryFormat format_;
  std::vector<std::vector<Step>> slices_;
  NamedTensors weights_;
};

}  // namespace casdm::trunks
