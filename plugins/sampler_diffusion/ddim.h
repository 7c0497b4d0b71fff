#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/options.h"
#include "casdm/sampler.h"
#include "clean_image.h"
#include "timesteps.h"

namespace casdm::sampler_diffusion {

/// The time at which a step ends.
enum class Previous { kept, stride };

constexpr auto choices_of(Previous) {
  using enum Previous;
  return choices<Previous>({{kept, "kept"}, {stride, "stride"}});
}

struct DdimOptions : CleanImageOptions {
  std::int64_t num_inference_steps = 50;
  Spacing spacing = Spacing::leading;
  std::string timestep_respacing;
  double eta = 0;
  Previous previous = Previous::kept;

  static void describe(Schema<DdimOptions>& s);
};

/// Denoising diffusion implicit models (Song et al. 2021, equation 12), from t to the next kept time p; after the last
/// one, to the clean image:
///
///     x_p = alpha_p h + sqrt(sigma_p^2 - s^2) e(h) + s z,     e(h) = (x_t - alpha_t h) / sigma_t
///     s   = eta sqrt(posterior variance), for a table of betas eta sqrt((1-A_p) / (1-A_t)) sqrt(1 - A_t/A_p)
///
/// h is the mixed clean image, and e is derived from it: by linearity this is the mixture of the two
/// DDIM means (An et al. 2024). eta = 0 is deterministic, eta = 1 has the mean and variance of DDPM
/// with variance beta~. Also defined where alpha_t = 0.
class DdimSampler : public Sampler {
 public:
  using Options = DdimOptions;

  /// Throws ConfigError if the schedule does not support the requested steps.
  DdimSampler(const Options& options, const Spec& spec);

  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }
  Tensor step(const StepInput& input) override;

 private:
  /// x_p = of_x0 h + of_x_t x_t + of_noise z.
  struct Coefficients {
    double of_x0;
    double of_x_t;
    double of_noise;
  };

  static Coefficients coefficients(const NoiseScheduler& schedule, double t, double next, double eta);

  CleanImage clean_image_;
  double initial_scale_;
  std::vector<SampleStep> plan_;
  std::vector<Coefficients> coefficients_;
};

}  // namespace casdm::sampler_diffusion
