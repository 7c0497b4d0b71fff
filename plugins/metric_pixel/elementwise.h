#pragma once

#include <optional>

#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "casdm/plugin_registrar.h"

/// Distances computed from the differences of single pixels, d = prediction - target.
namespace casdm::metric_pixel {

/// mean |d|
class L1Loss : public MetricLoss {
 public:
  using Options = NoOptions;
  L1Loss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;
};

/// mean d^2
class L2Loss : public MetricLoss {
 public:
  using Options = NoOptions;
  L2Loss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;
};

struct HuberOptions {
  double delta = 1.0;

  static void describe(Schema<HuberOptions>& s);
};

/// mean of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2) (Huber 1964)
class HuberLoss : public MetricLoss {
 public:
  using Options = HuberOptions;
  HuberLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  double delta_;
};

struct PseudoHuberOptions {
  std::optional<double> c;

  static void describe(Schema<PseudoHuberOptions>& s);
};

/// sqrt(sum d^2 + c^2) - c over the whole image (Song & Dhariwal 2023, arXiv 2310.14189, equation 8): a norm of the
/// image, not a mean of its elements, so about sqrt(C H W) times the root mean square of d.
class PseudoHuberLoss : public MetricLoss {
 public:
  using Options = PseudoHuberOptions;
  PseudoHuberLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  double c_;
};

struct CharbonnierOptions {
  double epsilon = 1e-3;

  static void describe(Schema<CharbonnierOptions>& s);
};

/// mean of sqrt(d^2 + epsilon^2) - epsilon (Charbonnier et al. 1994), where epsilon is subtracted so that d(x, x) = 0
class CharbonnierLoss : public MetricLoss {
 public:
  using Options = CharbonnierOptions;
  CharbonnierLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  double epsilon_;
};

}  // namespace casdm::metric_pixel
