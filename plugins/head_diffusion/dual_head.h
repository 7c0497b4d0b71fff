#pragma once

#include <memory>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/head_network.h"
#include "mixture.h"

namespace casdm::head_diffusion {

struct DualOptions : MixtureOptions {
  ComponentConfig theta;

  static void describe(Schema<DualOptions>& s);
};

/// The dual diffusion model (Benny & Wolf 2022, "Dynamic Dual-Output Diffusion Models"): one network theta with the
/// outputs eps', x0' and a gate, mixed and trained as in Mixture. A metric acts on x0', so unlike in Cas-DM it trains
/// the same parameters that predict the noise.
class DualHead : public CascadeHead {
 public:
  using Options = DualOptions;

  DualHead(const DualOptions& options, const Spec& spec);

  std::vector<NamedModule> modules() const override;
  Estimate estimate(const EstimateInput& input) override;
  /// Terms eps, x0, mu, metric.*.
  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override;

 private:
  Estimate predict(const Tensor& x_t, const Tensor& t, const Condition& condition) const;

  std::int64_t channels_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Mixture mixture_;
  HeadNetwork theta_;
};

}  // namespace casdm::head_diffusion
