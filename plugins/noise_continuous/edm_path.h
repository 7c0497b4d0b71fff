#pragma once

#include "casdm/noise_scheduler.h"
#include "casdm/options.h"

namespace casdm::noise_continuous {

struct EdmPathOptions {
  double sigma_min = 0.002;
  double sigma_max = 80;
  double sigma_data = 0.5;
  double rho = 7;

  static void describe(Schema<EdmPathOptions>& s);
};

/// EDM's path (Karras et al. 2022): x_t = x0 + t eps, where t = sigma is the standard deviation of the noise.
///
///     network_input   x_t / sqrt(sigma^2 + sigma_data^2), of variance 1   (table 1, c_in)
///     network_time    250 ln sigma, which is 1000 c_noise; below sigma_min as at sigma_min   (table 1)
///     previous        one of 1000 steps that are equal in sigma^(1/rho)    (equation 5)
class EdmPath : public NoiseScheduler {
 public:
  using Options = EdmPathOptions;

  EdmPath(const EdmPathOptions& options, const Spec& spec);

  TimeRange range() const override { return {.first = options_.sigma_min, .last = options_.sigma_max, .clean = 0}; }
  Tensor alpha(const Tensor& t) const override;
  Tensor sigma(const Tensor& t) const override;
  /// In closed form: sigma = exp(-log_snr / 2).
  Tensor time_at(const Tensor& log_snr) const override;
  Tensor previous(const Tensor& t) const override;
  Tensor network_time(const Tensor& t) const override;
  Tensor network_input(const Tensor& x_t, const Tensor& t) const override;
  double prior_std() const override { return options_.sigma_max; }

 private:
  EdmPathOptions options_;
};

}  // namespace casdm::noise_continuous
