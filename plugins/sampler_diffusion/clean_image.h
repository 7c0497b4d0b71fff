#pragma once

#include <string>

#include "casdm/options.h"
#include "casdm/sampler.h"

namespace casdm::sampler_diffusion {

/// How every sampler of this plugin reads the clean image from an estimate.
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

/// The clean image h that stands for an estimate: the mixture r x0' + (1-r) x0*, clipped as asked.
class CleanImage {
 public:
  /// Throws ConfigError when a dynamic threshold is asked for with nothing to clip.
  explicit CleanImage(const CleanImageOptions& options);

  /// Of an estimate at a timestep of the schedule. float32, or float64 where the estimate is.
  Tensor operator()(const Estimate& estimate) const;

  /// Of an estimate at x = x0 + sigma eps between two timesteps: x0* is taken from eps by this sigma, so
  /// that clean image and noise agree however the head interpolates its tables.
  Tensor between_timesteps(Estimate estimate, const Tensor& x, double sigma) const;

 private:
  Tensor threshold(const Tensor& x0) const;

  Clip clip_;
  double quantile_;
};

}  // namespace casdm::sampler_diffusion
