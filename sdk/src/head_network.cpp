#include "casdm/head_network.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

HeadNetwork::HeadNetwork(std::string name, const ComponentConfig& config, const CascadeHead::Spec& head,
                         std::int64_t in_channels, std::int64_t out_channels)
    : name_(std::move(name)),
      config_(config),
      out_channels_(out_channels),
      schedule_(head.schedule),
      backbone_(head.backbone(name_, config, in_channels, out_channels)) {}

Tensor HeadNetwork::checked(const Tensor& output, const Tensor& x) const {
  std::vector<std::int64_t> expected = x.sizes().vec();
  expected[1] = out_channels_;
  if (output.sizes() != at::IntArrayRef(expected)) {
    throw Error(text("backbone of '", name_, "' returned a tensor of shape ", output.sizes(), ", expected ",
                     at::IntArrayRef(expected)));
  }
  if (output.layout() != at::kStrided || !output.is_floating_point()) {
    throw Error(text("backbone of '", name_, "' returned a tensor of type ", at::toString(output.scalar_type()),
                     output.layout() == at::kStrided ? "" : ", sparse", "; expected a dense one, floating point"));
  }
  return output.to(x.scalar_type());
}

Tensor HeadNetwork::operator()(const Tensor& x, const Tensor& t, const Condition& condition) const {
  return checked(backbone_->forward(x, schedule_->network_time(t).to(x.scalar_type()), condition), x);
}

BackboneOutput HeadNetwork::with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                      const std::vector<std::string>& taps) const {
  BackboneOutput output =
      backbone_->forward_with_taps(x, schedule_->network_time(t).to(x.scalar_type()), condition, taps);
  output.sample = checked(output.sample, x);
  return output;
}

Tensor mean_per_image(const Tensor& x) { return x.flatten(1).mean(1); }

Tensor squared_error(const Tensor& a, const Tensor& b) { return mean_per_image((a - b).square()); }

}  // namespace casdm
