#pragma once

#include <ATen/ATen.h>

#include <memory>

#include "casdm/noise_scheduler.h"

/// Paths in continuous time, as plugins would bring them.
namespace casdm::testing {

/// x_t = (1 - t) x0 + t eps (Liu et al. 2023).
class FlowPath : public NoiseScheduler {
 public:
  /// @param last  below 1: some signal is left there, as heads that predict the noise need
  explicit FlowPath(double last = 1) : last_(last) {}
  TimeRange range() const override { return {.first = 1e-3, .last = last_, .clean = 0}; }
  Tensor alpha(const Tensor& t) const override { return 1 - t.to(at::kDouble); }
  Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble); }

 private:
  double last_;
};

/// x_t = x0 + t eps (Karras et al. 2022); images have the standard deviation 0.5.
class EdmPath : public NoiseScheduler {
 public:
  static constexpr double kSigmaData = 0.5;
  TimeRange range() const override { return {.first = 0.002, .last = 80, .clean = 0}; }
  Tensor alpha(const Tensor& t) const override { return at::ones_like(t, at::kDouble); }
  Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble); }
  Tensor previous(const Tensor& t) const override { return t.to(at::kDouble) * 0.99; }
  Tensor network_time(const Tensor& t) const override { return 250 * t.to(at::kDouble).log(); }
  Tensor network_input(const Tensor& x_t, const Tensor& t) const override {
    return x_t / per_image((sigma(t).square() + kSigmaData * kSigmaData).sqrt(), x_t);
  }
  double prior_std() const override { return 80; }
};

}  // namespace casdm::testing
