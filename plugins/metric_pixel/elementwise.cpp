#include "elementwise.h"

#include <ATen/ATen.h>

#include <cmath>

namespace casdm::metric_pixel {
namespace {

/// Differences as [B, C*H*W].
Tensor differences(const Tensor& prediction, const std::vector<Tensor>& target) {
  return (prediction - target.at(0)).flatten(1);
}

}  // namespace

L1Loss::L1Loss(const Options& /*options*/, const Spec& /*spec*/) {}

Tensor L1Loss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  return differences(prediction, target).abs().mean(1);
}

L2Loss::L2Loss(const Options& /*options*/, const Spec& /*spec*/) {}

Tensor L2Loss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  return differences(prediction, target).square().mean(1);
}

HuberLoss::HuberLoss(const Options& options, const Spec& /*spec*/) : delta_(options.delta) {}

Tensor HuberLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const Tensor d = differences(prediction, target).abs();
  const Tensor inner = d.clamp_max(delta_);
  return (inner * (d - 0.5 * inner)).mean(1);
}

void HuberOptions::describe(Schema<HuberOptions>& s) {
  s.option("delta", &HuberOptions::delta, "Difference from which the loss grows linearly; images span 2.")
      .greater_than(0);
}

PseudoHuberLoss::PseudoHuberLoss(const Options& options, const Spec& spec) {
  const auto elements = static_cast<double>(spec.image.channels * spec.image.height * spec.image.height);
  c_ = options.c.value_or(0.00054 * std::sqrt(elements));
}

Tensor PseudoHuberLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  return (differences(prediction, target).square().sum(1) + c_ * c_).sqrt() - c_;
}

void PseudoHuberOptions::describe(Schema<PseudoHuberOptions>& s) {
  s.option("c", &PseudoHuberOptions::c,
           "Norm of the image difference from which the loss grows linearly. Default: 0.00054 sqrt(C H W).")
      .greater_than(0)
      .example(0.03);
}

CharbonnierLoss::CharbonnierLoss(const Options& options, const Spec& /*spec*/) : epsilon_(options.epsilon) {}

Tensor CharbonnierLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  return (differences(prediction, target).square() + epsilon_ * epsilon_).sqrt().mean(1) - epsilon_;
}

void CharbonnierOptions::describe(Schema<CharbonnierOptions>& s) {
  s.option("epsilon", &CharbonnierOptions::epsilon, "Difference from which the loss grows linearly; images span 2.")
      .greater_than(0);
}

}  // namespace casdm::metric_pixel
