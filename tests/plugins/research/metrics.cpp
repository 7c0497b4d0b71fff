#include "research.h"

namespace casdm::research {
namespace {

/// prediction - target| with less weight at high noise: it needs the noise level.
class GatedL1 final : public MetricLoss {
 public:
  using Options = NoOptions;
  GatedL1(const Options&, const Spec&) {}
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return (prediction - target.front()).abs().flatten(1).mean(1);
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    const Tensor plain = distance(prediction, target);
    return context.log_snr.defined() ? plain * context.log_snr.sigmoid().to(plain.scalar_type()) : plain;
  }
};

/// prediction - target| in units of its mean over the images seen: per image, with a memory.
class RelativeL1 final : public NetworkOf<MetricLoss> {
 public:
  using Options = NoOptions;

  RelativeL1(const Options&, const Spec&)
      : sum_(add_buffer("sum", at::zeros({}, at::kDouble))), seen_(add_buffer("seen", at::zeros({}, at::kLong))) {}

  MetricInfo info() const override { return {.has_state = true}; }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return distance_in(prediction, target, {});
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    const Tensor value = (prediction - target.front()).abs().flatten(1).mean(1);
    const Tensor mean = (sum_ + 1.0) / (seen_ + 1.0);
    if (context.is_training) {
      sum_.add_(value.detach().sum());
      seen_.add_(value.size(0));
    }
    return value / mean.to(value.scalar_type());
  }

 private:
  Tensor sum_, seen_;
};

/// L1 with the sum of its values so far, which is another tensor after each batch.
class RebindingL1 final : public MetricLoss {
 public:
  using Options = NoOptions;

  RebindingL1(const Options&, const Spec&) : sum_(at::zeros({1})) {}
  NamedTensors buffers() const override { return {{"sum", sum_}}; }
  MetricInfo info() const override { return {.is_per_image = false, .has_state = true}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const Tensor value = (prediction - target.front()).abs().mean().view({1});
    sum_ = sum_.to(value.device()) + value.detach();
    return value;
  }

 private:
  Tensor sum_;
};

}  // namespace

void add_metrics(PluginRegistrar& plugin) {
  plugin.add<GatedL1>("gated_l1", "L1 by noise level.");
  plugin.add<RebindingL1>("rebinding_l1", "L1 that replaces its buffer.");
  plugin.add<RelativeL1>("relative_l1", "L1 in units of its running mean.");
}

}  // namespace casdm::research
