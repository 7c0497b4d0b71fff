#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace casdm::trunks {

/// One layer of a convolutional trunk. `index` is its position in the published network and part of its state names:
/// "slice2.5.weight".
struct Layer {
  enum class Kind {
    convolution,   ///< with bias and zero padding; the ReLU is its own layer
    relu,          ///< its output ends a slice or is the input of the next layer
    max_pool,      ///< no padding
    average_pool,  ///< no padding
    l2_pool,       ///< root of the average of squares in a 3x3 Hann window, stride 2, zero padding
    blur,          ///< 3x3 binomial filter per channel, mirrored at the edges
    fire,          ///< SqueezeNet: 1x1 to `squeeze` channels, then 1x1 and 3x3 side by side, ReLU after each
  };
  Kind kind = Kind::relu;
  int index = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t squeeze = 0;
  bool ceil_mode = false;  ///< for pools: a last, partly filled window counts
};

/// A network divided into slices; the output of each slice is one tap of the metric.
struct Trunk {
  std::vector<std::vector<Layer>> slices;
  std::vector<std::int64_t> channels;  ///< of each tap
  std::int64_t minimum_size = 1;       ///< in pixels: smaller images would shrink to nothing
};

/// The trunks of LPIPS (Zhang et al. 2018): "vgg16" (relu1_2, 2_2, 3_3, 4_3, 5_3), "alexnet" (relu1..5),
/// "squeezenet" (1.1, seven taps). `average_pool` replaces the max pools of vgg16.
Trunk lpips_trunk(const std::string& net, bool average_pool);

/// The trunk of DISTS (Ding et al. 2020): "vgg16" with L2 pools, which avoid the aliasing of max pools.
Trunk dists_trunk();

/// The trunks of ST-LPIPS (Ghildyal & Liu 2022): "vgg16" and "alexnet" with blur pooling (Zhang 2019) in place of
/// strides.
Trunk st_lpips_trunk(const std::string& net);

}  // namespace casdm::trunks
