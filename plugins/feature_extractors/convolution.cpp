#include "convolution.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::feature_extractors {

Convolution::Convolution(const TensorFile& file, const std::string& convolution, const std::string& norm, double eps,
                         std::int64_t channels, const Form& form, NamedTensors& buffers)
    : form_(form) {
  const auto read = [&](const std::string& name) { return file.at(name).to(at::kDouble); };
  const Tensor weight = read(convolution + ".weight");
  Tensor scale = 1 / (read(norm + ".running_var") + eps).sqrt();
  if (file.contains(norm + ".weight")) scale = scale * read(norm + ".weight");
  if (weight.dim() != 4 || weight.size(1) * form.groups != channels || scale.numel() != weight.size(0)) {
    throw Error(text("the tensor ", convolution, ".weight has the shape ", weight.sizes(), ", which does not match ",
                     channels, " channels: the file holds the weights of another network"));
  }
  weight_ = (weight * scale.view({-1, 1, 1, 1})).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  bias_ = (read(norm + ".bias") - read(norm + ".running_mean") * scale).to(at::kFloat);
  buffers.emplace_back(convolution + ".weight", weight_);
  buffers.emplace_back(convolution + ".bias", bias_);
}

Tensor Convolution::operator()(const Tensor& x) const {
  return at::conv2d(x, weight_.to(x.scalar_type()), bias_.to(x.scalar_type()), form_.stride, form_.padding,
                    /*dilation=*/1, form_.groups);
}

}  // namespace casdm::feature_extractors
