#include "head_network.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"

namespace casdm::head_diffusion {

HeadNetwork::HeadNetwork(std::string name, const ComponentConfig& config, const CascadeHead::Spec& head,
                         std::int64_t in_channels, std::int64_t out_channels)
    : name_(std::move(name)), out_channels_(out_channels) {
  backbone_ = head.factory->make<Backbone>(config, {.in_channels = in_channels,
                                                    .out_channels = out_channels,
                                                    .image_size = head.image_size,
                                                    .num_classes = head.num_classes,
                                                    .seed = derive_seed(head.seed, name_),
                                                    .augment_size = head.augment_size});
}

Tensor HeadNetwork::operator()(const Tensor& x, const Tensor& t, const Condition& condition) const {
  const Tensor time = at::isFloatingType(t.scalar_type()) ? t : t.to(x.scalar_type());
  const Tensor output = backbone_->forward(x, time, condition);
  std::vector<std::int64_t> expected = x.sizes().vec();
  expected[1] = out_channels_;
  if (output.sizes() != at::IntArrayRef(expected)) {
    throw Error(text("backbone of '", name_, "' returned a tensor of shape ", output.sizes(), ", expected ",
                     at::IntArrayRef(expected)));
  }
  return output.to(x.scalar_type());
}

Condition sampling_condition(const Tensor& labels) {
  Condition condition;
  condition.labels = labels;
  return condition;
}

Tensor mean_per_image(const Tensor& x) { return x.flatten(1).mean(1); }

Tensor squared_error(const Tensor& a, const Tensor& b) { return mean_per_image((a - b).square()); }

std::shared_ptr<const NoiseScheduler> with_signal(std::shared_ptr<const NoiseScheduler> schedule,
                                                  std::string_view what) {
  if (schedule->alphas_cumprod().back() > 0) return schedule;
  throw ConfigError(text("the noise schedule ends in pure noise (alphas_cumprod is 0 at t = ",
                         schedule->num_train_timesteps() - 1, "), where ", what,
                         " cannot recover a clean image from the predicted noise; use a schedule that keeps some "
                         "signal, or the head 'single' with prediction_type = \"v_prediction\""));
}

}  // namespace casdm::head_diffusion
