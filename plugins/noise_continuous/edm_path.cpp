#include "edm_path.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::noise_continuous {

void EdmPathOptions::describe(Schema<EdmPathOptions>& s) {
  s.option("sigma_min", &EdmPathOptions::sigma_min,
           "Standard deviation of the least noise that networks are trained at.")
      .greater_than(0);
  s.option("sigma_max", &EdmPathOptions::sigma_max, "Standard deviation of the most noise, where sampling begins.")
      .greater_than(0);
  s.option("sigma_data", &EdmPathOptions::sigma_data,
           "Standard deviation of the images in [-1, 1], by which the networks' input is scaled.")
      .greater_than(0);
  s.option("rho", &EdmPathOptions::rho,
           "The path has 1000 steps, equal in sigma^(1/rho). The mu loss of `cascade` and `dual` and the variational "
           "bound for a learned variance are computed over one of them.")
      .range(1, 100)
      .not_with("head.type", {"head_diffusion/edm", "head_diffusion/consistency"})
      .not_with("head.variance", {"fixed"})
      .not_with("head.mu_weight", {"inv_c1sq"});
}

EdmPath::EdmPath(const EdmPathOptions& options, const Spec& /*spec*/) : options_(options) {
  if (options.sigma_min >= options.sigma_max) {
    throw ConfigError(text("sigma_min = ", options.sigma_min, " is not below sigma_max = ", options.sigma_max));
  }
}

Tensor EdmPath::alpha(const Tensor& t) const { return at::ones_like(t, at::kDouble); }

Tensor EdmPath::sigma(const Tensor& t) const { return t.to(at::kDouble); }

Tensor EdmPath::time_at(const Tensor& log_snr) const {
  return (-0.5 * log_snr).exp().clamp(options_.sigma_min, options_.sigma_max);
}

Tensor EdmPath::previous(const Tensor& t) const {
  const double least = std::pow(options_.sigma_min, 1 / options_.rho);
  const double step = (std::pow(options_.sigma_max, 1 / options_.rho) - least) / 1000;
  const Tensor root = t.to(at::kDouble).pow(1 / options_.rho) - step;
  return at::where(root >= least, root.pow(options_.rho), at::full_like(root, range().clean));
}

Tensor EdmPath::network_time(const Tensor& t) const { return 250 * sigma(t).clamp_min(options_.sigma_min).log(); }

Tensor EdmPath::network_input(const Tensor& x_t, const Tensor& t) const {
  return x_t / per_image((sigma(t).square() + options_.sigma_data * options_.sigma_data).sqrt(), x_t);
}

}  // namespace casdm::noise_continuous
