#pragma once

#include <array>
#include <string>

#include "casdm/module.h"
#include "casdm/safetensors.h"

namespace casdm::feature_extractors {

/// A convolution of a trained network combined with the batch normalisation after it: g (w * x - mean) / sqrt(variance
/// + eps) + b is a convolution with other weights.
class Convolution {
 public:
  struct Form {
    std::int64_t stride = 1;
    std::int64_t groups = 1;
    std::array<std::int64_t, 2> padding = {0, 0};  ///< above and below, left and right
  };

  Convolution() = default;

  /// Reads `convolution`.weight and `norm`.{weight, bias, running_mean, running_var} from the file; `norm`.weight is 1
  /// if it is missing. Adds the combined tensors to `buffers`, as `convolution`.{weight, bias}. Throws Error if the
  /// file has no such tensors, or they do not take `channels` channels.
  Convolution(const TensorFile& file, const std::string& convolution, const std::string& norm, double eps,
              std::int64_t channels, const Form& form, NamedTensors& buffers);

  Tensor operator()(const Tensor& x) const;

  std::int64_t channels() const { return weight_.size(0); }  ///< number of output channels
  std::int64_t kernel() const { return weight_.size(2); }

 private:
  Tensor weight_, bias_;
  Form form_;
};

}  // namespace casdm::feature_extractors
