#pragma once

#include <memory>
#include <string>

#include "casdm/cascade_head.h"

/// The heads of the DDPM family. x_t = sqrt(A_t) x0 + sqrt(1-A_t) eps throughout, A = alphas_cumprod.
namespace casdm::head_diffusion {

/// A backbone under its name in checkpoints, with the channels its head asked for.
class HeadNetwork {
 public:
  /// Makes the backbone that `config` chooses, its weights seeded by (head seed, name) alone.
  HeadNetwork(std::string name, const ComponentConfig& config, const CascadeHead::Spec& head, std::int64_t in_channels,
              std::int64_t out_channels);

  /// The backbone's output in the dtype of `x`, so that what follows keeps that precision under autocast.
  /// @param t  [B], int64 or floating point
  /// Throws Error when the output has another shape than [B, out_channels, H, W].
  Tensor operator()(const Tensor& x, const Tensor& t, const Condition& condition) const;

  const std::string& name() const { return name_; }
  const std::shared_ptr<Backbone>& backbone() const { return backbone_; }

 private:
  std::string name_;
  std::int64_t out_channels_;
  std::shared_ptr<Backbone> backbone_;
};

/// What a network is told in sampling: labels, no dropout.
Condition sampling_condition(const Tensor& labels);

/// Mean over all dimensions but the first: [B].
Tensor mean_per_image(const Tensor& x);

/// Mean of (a - b)^2 per image: [B].
Tensor squared_error(const Tensor& a, const Tensor& b);

/// `schedule` itself. Throws ConfigError when it ends in pure noise (A_T = 0), from which eps implies no clean image.
std::shared_ptr<const NoiseScheduler> with_signal(std::shared_ptr<const NoiseScheduler> schedule,
                                                  std::string_view what);

}  // namespace casdm::head_diffusion
