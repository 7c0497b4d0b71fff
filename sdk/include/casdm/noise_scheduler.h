#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "casdm/api.h"

namespace casdm CASDM_API {

using at::Tensor;

/// The times a path has. They rise or fall from the clean image to noise; `first` is the least noise a network is
/// trained at and `last` the most.
struct TimeRange {
  double first = 0;
  double last = 0;
  double clean = 0;       ///< the time of the clean image; at `first` or beyond it
  bool is_whole = false;  ///< networks are trained at the whole numbers first..last alone
};

/// A level of noise: x = alpha x0 + sigma eps.
struct NoiseLevel {
  double t = 0;
  double alpha = 1;
  double sigma = 0;

  /// Noise to signal, the sigma of Karras et al. 2022; infinite without signal.
  double ratio() const { return sigma / alpha; }
  /// Half the log signal-to-noise ratio, the lambda of Lu et al. 2022.
  double log_ratio() const;
};

/// q(x_s | x_t, x0) = N(of_x0 x0 + of_x_t x_t, variance), and q(x_t | x_s) = N(alpha_t/alpha_s x_s, step_variance).
struct PosteriorLevel {
  double of_x0 = 0;
  double of_x_t = 0;
  double variance = 0;
  double step_variance = 0;
};
struct Posterior {
  Tensor of_x0, of_x_t, variance, step_variance;  ///< float64, the shape of t, on its device
};

/// The path from the clean image to noise, x_t = alpha(t) x0 + sigma(t) eps, and everything that follows from it.
///
/// A path is a range of times and two functions; a table of betas is one kind of path (casdm/beta_schedule.h).
/// alpha^2/sigma^2, the signal-to-noise ratio, falls strictly from `clean` to `last`.
/// Immutable after construction, so it may be shared by threads. No call may wait for the device.
///
///     class RectifiedFlow : public NoiseScheduler {
///      public:
///       using Options = NoOptions;
///       RectifiedFlow(const Options&, const Spec&) {}
///       TimeRange range() const override { return {.first = 1e-3, .last = 1, .clean = 0}; }
///       Tensor alpha(const Tensor& t) const override { return 1 - t.to(at::kDouble); }
///       Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble); }
///     };
class NoiseScheduler {
 public:
  using Interface = NoiseScheduler;
  static constexpr std::string_view kind = "noise_scheduler";
  static constexpr int interface_version = 2;

  struct Spec {};

  virtual ~NoiseScheduler();

  virtual TimeRange range() const = 0;

  /// Signal and noise at t: float64, the shape of t, on its device. 1 and 0 at `range().clean`; where range().is_whole,
  /// defined between timesteps too.
  /// @param t  any shape, int64 or floating point, within clean..last
  virtual Tensor alpha(const Tensor& t) const = 0;
  virtual Tensor sigma(const Tensor& t) const = 0;

  /// log(alpha^2 / sigma^2), shaped like t.
  virtual Tensor log_snr(const Tensor& t) const;

  /// The t of a log signal-to-noise ratio; ratios beyond the range give its ends. By bisection unless overridden.
  /// @param log_snr  float64, any shape
  virtual Tensor time_at(const Tensor& log_snr) const;

  /// The time one training step less noisy, at most `clean`: t-1 where whole, else a thousandth of first..last.
  /// Heads use it where a loss is about one step of the reverse process.
  virtual Tensor previous(const Tensor& t) const;

  /// T, the number of training steps: of whole timesteps, or 1000 where every time is trained at.
  std::int64_t num_train_timesteps() const;

  /// t as the networks get it, floating point: t itself where whole, else 1000 times its fraction of the range, so
  /// that embeddings made for a thousand timesteps serve.
  virtual Tensor network_time(const Tensor& t) const;

  /// x_t as the networks get it; paths whose x_t grows with the noise scale it to the variance of images.
  /// @param x_t  [B, C, H, W]
  /// @param t    [B]
  virtual Tensor network_input(const Tensor& x_t, const Tensor& t) const;

  /// Standard deviation of x at `last`, where sampling begins.
  virtual double prior_std() const { return 1.0; }

  /// x_t = alpha x0 + sigma eps. t is [B] in all of these.
  Tensor q_sample(const Tensor& x0, const Tensor& t, const Tensor& eps) const;
  /// x0 = (x_t - sigma eps) / alpha; 0, the middle of the images' range, where there is no signal.
  Tensor predict_x0_from_eps(const Tensor& x_t, const Tensor& t, const Tensor& eps) const;
  /// eps = (x_t - alpha x0) / sigma.
  Tensor predict_eps_from_x0(const Tensor& x_t, const Tensor& t, const Tensor& x0) const;
  /// v = alpha eps - sigma x0 (Salimans & Ho 2022).
  Tensor velocity(const Tensor& x0, const Tensor& t, const Tensor& eps) const;
  /// x0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2) and eps = (sigma x_t + alpha v) / (alpha^2 + sigma^2).
  Tensor predict_x0_from_v(const Tensor& x_t, const Tensor& t, const Tensor& v) const;
  Tensor predict_eps_from_v(const Tensor& x_t, const Tensor& t, const Tensor& v) const;

  /// Between any two times, s less noisy than t. With alpha_ts = alpha_t/alpha_s and sigma_ts^2 = sigma_t^2 -
  /// alpha_ts^2 sigma_s^2 (Kingma et al. 2021, appendix A):
  ///     of_x0 = alpha_s sigma_ts^2/sigma_t^2,  of_x_t = alpha_ts sigma_s^2/sigma_t^2,
  ///     variance = sigma_s^2 sigma_ts^2/sigma_t^2,  step_variance = sigma_ts^2.
  Posterior posterior(const Tensor& t, const Tensor& s) const;
  PosteriorLevel posterior(double t, double s) const;

  /// The level at one t, for samplers that look levels up before they begin.
  NoiseLevel level(double t) const;

  /// Where t lies from the clean image (0) to the most noise (1), linear in t.
  double fraction(double t) const;
};

/// `values` [B] as a factor of `like` [B, ...]: shaped [B, 1, ...], with its dtype, on its device.
Tensor per_image(const Tensor& values, const Tensor& like);

/// `schedule` itself. Throws ConfigError when it keeps no signal at its end, from where eps implies no clean image.
/// @param what  what needs the signal, as the subject of a sentence
std::shared_ptr<const NoiseScheduler> require_final_signal(std::shared_ptr<const NoiseScheduler> schedule,
                                                           std::string_view what);

}  // namespace casdm
