#pragma once

#include <memory>

#include "casdm/head_network.h"

namespace casdm::head_diffusion {

/// A network F whose input and output are scaled so that both have variance 1 (Karras et al. 2022, table 1), in the
/// form that holds on every path x_t = alpha x0 + sigma eps. With d = sigma_data and n = sigma^2 + d^2 alpha^2,
///
///     x0' = d^2 alpha / n x_t + sigma d / sqrt(n) F(x_t / sqrt(n), t)
///
/// so that x0' = x_t at the clean image, where the network gets the time of the least noise and its output has no
/// effect.
class Preconditioned {
 public:
  /// Throws ConfigError if the path scales the networks' input for images with another standard deviation.
  Preconditioned(std::shared_ptr<const NoiseScheduler> schedule, double sigma_data);

  /// n, shaped like t.
  Tensor variance_at(const Tensor& t) const;

  /// x0' computed from the network F.
  Tensor clean_image(const HeadNetwork& network, const Tensor& x_t, const Tensor& t, const Condition& condition) const;

 private:
  std::shared_ptr<const NoiseScheduler> schedule_;
  double sigma_data_;
};

}  // namespace casdm::head_diffusion
