#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace casdm {

using at::Tensor;

/// The forward process q and everything that follows from its betas (Ho et al. 2020, eqs. 2-7).
///
/// Timesteps count from 0: `betas()[0]` is the paper's beta_1. Tables are computed in float64;
/// where a table meets tensors it is gathered and cast to their dtype. `t` is [B]: int64, or
/// floating point, where tables are interpolated linearly between timesteps.
/// Immutable after construction, so it may be shared by threads.
class NoiseScheduler {
 public:
  using Interface = NoiseScheduler;
  static constexpr std::string_view kind = "noise_scheduler";
  static constexpr int interface_version = 1;

  struct Spec {};

  /// @param betas  each in (0, 1], at least one. Throws ConfigError naming the index otherwise.
  explicit NoiseScheduler(std::vector<double> betas);
  virtual ~NoiseScheduler();

  std::int64_t num_train_timesteps() const { return static_cast<std::int64_t>(betas_.size()); }

  const std::vector<double>& betas() const { return betas_; }
  const std::vector<double>& alphas_cumprod() const { return alphas_cumprod_; }
  /// A_{t-1}, with A of "before the first step" = 1.
  const std::vector<double>& alphas_cumprod_prev() const { return alphas_cumprod_prev_; }
  /// beta~_t = beta_t (1-A_{t-1}) / (1-A_t); 0 at the first step.
  const std::vector<double>& posterior_variance() const { return posterior_variance_; }
  /// log beta~_t with the first entry replaced by the second (log 0 does not exist).
  const std::vector<double>& posterior_log_variance_clipped() const { return posterior_log_variance_clipped_; }
  /// c1 and c2 of mu~ = c1 x0 + c2 x_t.
  const std::vector<double>& posterior_mean_coef1() const { return posterior_mean_coef1_; }
  const std::vector<double>& posterior_mean_coef2() const { return posterior_mean_coef2_; }

  /// `table` at `t`, shaped [B,1,1,1] (as many ones as `like` has dimensions beyond the first),
  /// with the dtype and device of `like`.
  static Tensor gather(const std::vector<double>& table, const Tensor& t, const Tensor& like);

  /// x_t = sqrt(A_t) x0 + sqrt(1-A_t) eps.
  Tensor q_sample(const Tensor& x0, const Tensor& t, const Tensor& eps) const;
  /// x0 = (x_t - sqrt(1-A_t) eps) / sqrt(A_t).
  Tensor predict_x0_from_eps(const Tensor& x_t, const Tensor& t, const Tensor& eps) const;
  /// eps = (x_t - sqrt(A_t) x0) / sqrt(1-A_t).
  Tensor predict_eps_from_x0(const Tensor& x_t, const Tensor& t, const Tensor& x0) const;
  /// v = sqrt(A_t) eps - sqrt(1-A_t) x0 (Salimans & Ho 2022), and x0 = sqrt(A_t) x_t - sqrt(1-A_t) v.
  Tensor velocity(const Tensor& x0, const Tensor& t, const Tensor& eps) const;
  Tensor predict_x0_from_v(const Tensor& x_t, const Tensor& t, const Tensor& v) const;
  /// mu~(x_t, x0) = c1 x0 + c2 x_t.
  Tensor posterior_mean(const Tensor& x0, const Tensor& x_t, const Tensor& t) const;

 private:
  std::vector<double> betas_;
  std::vector<double> alphas_cumprod_;
  std::vector<double> alphas_cumprod_prev_;
  std::vector<double> sqrt_alphas_cumprod_;
  std::vector<double> sqrt_one_minus_alphas_cumprod_;
  std::vector<double> posterior_variance_;
  std::vector<double> posterior_log_variance_clipped_;
  std::vector<double> posterior_mean_coef1_;
  std::vector<double> posterior_mean_coef2_;
};

/// The process that visits only `timesteps` (rising, each in 0..T-1) of `schedule`, with betas
/// such that A at each kept timestep is unchanged (Nichol & Dhariwal 2021, section 4).
/// Throws ConfigError when `timesteps` is empty, not rising or out of range.
NoiseScheduler respaced(const NoiseScheduler& schedule, const std::vector<std::int64_t>& timesteps);

}  // namespace casdm
