#include "clean_image.h"

#include <ATen/ATen.h>

#include "casdm/error.h"

namespace casdm::sampler_diffusion {
namespace {

/// Half precision cannot represent x0* accurately near T, where eps' is amplified a hundredfold and more.
Tensor widened(const Tensor& x) { return x.defined() && x.scalar_type() != at::kDouble ? x.to(at::kFloat) : x; }

}  // namespace

CleanImage::CleanImage(const CleanImageOptions& options)
    : clip_(clip_from(options.clip)), quantile_(options.dynamic_threshold) {
  if (quantile_ > 0 && clip_ == Clip::none) {
    throw ConfigError("dynamic_threshold says where to clip, but clip = \"none\"; set clip to \"each\" or \"mixed\"");
  }
}

Tensor CleanImage::threshold(const Tensor& x0) const {
  if (!x0.defined()) return x0;
  const Tensor limit = at::quantile(x0.abs().flatten(1), quantile_, 1).clamp_min(1).reshape({-1, 1, 1, 1});
  return at::clamp(x0, -limit, limit) / limit;
}

Tensor CleanImage::operator()(const Estimate& estimate) const {
  Estimate wide;
  wide.x0_from_eps = widened(estimate.x0_from_eps);
  wide.x0 = widened(estimate.x0);
  wide.gate = widened(estimate.gate);
  if (quantile_ == 0) return mixed_x0(wide, clip_);
  if (clip_ == Clip::mixed) return threshold(mixed_x0(wide, Clip::none));
  wide.x0_from_eps = threshold(wide.x0_from_eps);
  wide.x0 = threshold(wide.x0);
  return mixed_x0(wide, Clip::none);
}

Tensor CleanImage::between_timesteps(Estimate estimate, const Tensor& x, double sigma) const {
  if (estimate.eps.defined()) estimate.x0_from_eps = x - sigma * widened(estimate.eps);
  return (*this)(estimate);
}

}  // namespace casdm::sampler_diffusion
