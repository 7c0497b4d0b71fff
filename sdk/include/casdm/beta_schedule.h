#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "casdm/api.h"
#include "casdm/noise_scheduler.h"

namespace casdm CASDM_API {

/// A function of t given at 0, 1, 2, ...: a tensor per device, made once, so that looking it up waits for nothing.
class TimeTable {
 public:
  /// @param values  at t = first, first + 1, ...
  explicit TimeTable(std::vector<double> values, std::int64_t first = 0);

  /// float64, the shape of t, on its device; linear between the entries, the ends beyond them.
  Tensor operator()(const Tensor& t) const;
  const std::vector<double>& values() const { return values_; }

 private:
  Tensor on(c10::Device device) const;

  std::vector<double> values_;
  std::int64_t first_;
  struct Copies;
  std::shared_ptr<Copies> copies_;
};

/// The path of a table of betas (Ho et al. 2020, eqs. 2-7): alpha^2 = A_t, the running product of 1 - beta, and
/// sigma^2 = 1 - A_t.
///
/// Timesteps count from 0: `betas()[0]` is the paper's beta_1; the clean image is at t = -1. Tables are computed in
/// float64. Between timesteps alpha and sigma are linear, and time_at takes the log signal-to-noise ratio as linear.
class BetaSchedule : public NoiseScheduler {
 public:
  /// @param betas  each in (0, 1], at least one. Throws ConfigError naming the index otherwise.
  explicit BetaSchedule(std::vector<double> betas);
  ~BetaSchedule() override;

  TimeRange range() const override;
  Tensor alpha(const Tensor& t) const override { return alpha_(t); }
  Tensor sigma(const Tensor& t) const override { return sigma_(t); }
  Tensor time_at(const Tensor& log_snr) const override;

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

  /// mu~(x_t, x0) = c1 x0 + c2 x_t, of the step from t to t - 1; t is int64 [B].
  Tensor posterior_mean(const Tensor& x0, const Tensor& x_t, const Tensor& t) const;

 private:
  /// The tables that need the running product.
  struct Levels {
    std::vector<double> alphas_cumprod, alphas_cumprod_prev, alpha, sigma, variance, coef1, coef2;
  };
  BetaSchedule(std::vector<double> betas, Levels levels);
  static Levels levels_of(const std::vector<double>& betas);

  std::vector<double> betas_;
  std::vector<double> alphas_cumprod_;
  std::vector<double> alphas_cumprod_prev_;
  TimeTable alpha_;  ///< from the clean image on, at t = -1
  TimeTable sigma_;
  std::vector<double> posterior_variance_;
  std::vector<double> posterior_log_variance_clipped_;
  std::vector<double> posterior_mean_coef1_;
  std::vector<double> posterior_mean_coef2_;
};

/// The process that visits only `timesteps` (rising, each in 0..T-1) of `schedule`, with betas
/// such that A at each kept timestep is unchanged (Nichol & Dhariwal 2021, section 4).
/// Throws ConfigError when `timesteps` is empty, not rising or out of range.
BetaSchedule respaced(const BetaSchedule& schedule, const std::vector<std::int64_t>& timesteps);

}  // namespace casdm
