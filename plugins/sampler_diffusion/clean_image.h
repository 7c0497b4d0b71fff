#pragma once

#include <string>

#include "casdm/options.h"
#include "casdm/sampler.h"

namespace casdm::sampler_diffusion {

/// How every sampler of this plugin gets the clean image from an estimate.
struct CleanImageOptions {
  std::string clip = "each";
  double dynamic_threshold = 0;
};

/// Declares them as T's own; T derives from CleanImageOptions.
template <class T>
void describe_clean_image(Schema<T>& s) {
  s.template option<std::string>("clip", &T::clip,
                                 "Clean images kept in [-1, 1]: x0* and x0' each before they are mixed, only the "
                                 "mixture, or none.")
      .choices(clip_names());
  s.template option<double>("dynamic_threshold", &T::dynamic_threshold,
                            "Clip at this quantile of |x0| of each image instead (never below 1), then divide by it "
                            "(Saharia et al. 2022, section 2.3; they use 0.995). 0: off.")
      .range(0, 1)
      .not_with("clip", {"none"});
}

/// The clean image h of an estimate: the mixture r x0' + (1-r) x0*, clipped according to the options.
class CleanImage {
 public:
  /// Throws ConfigError if a dynamic threshold is requested without clipping.
  explicit CleanImage(const CleanImageOptions& options);

  /// For an estimate at a timestep of the schedule. Returns float32, or float64 if the estimate is float64.
  Tensor operator()(const Estimate& estimate) const;

  /// For an estimate at x = x0 + sigma eps between two timesteps: x0* is computed from eps with this sigma, so that
  /// clean image and noise are consistent however the head interpolates its tables.
  Tensor between_timesteps(Estimate estimate, const Tensor& x, double sigma) const;

 private:
  Tensor threshold(const Tensor& x0) const;

  Clip clip_;
  double quantile_;
};

}  // namespace casdm::sampler_diffusion
