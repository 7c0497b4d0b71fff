#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "noise_levels.h"

namespace casdm::sampler_diffusion {

/// B(h) of the paper.
enum class UniPcVariant { bh1, bh2 };

constexpr auto choices_of(UniPcVariant) {
  using enum UniPcVariant;
  return choices<UniPcVariant>({{bh1, "bh1"}, {bh2, "bh2"}});
}

struct UniPcOptions : NoiseLevelOptions {
  std::int64_t order = 2;
  UniPcVariant variant = UniPcVariant::bh2;
  bool corrector = true;

  UniPcOptions() { spacing = LevelSpacing::trailing; }
  static void describe(Schema<UniPcOptions>& s);
};

/// UniPC (Zhao et al. 2023, algorithms 1 and 2) predicting clean images: each new evaluation first corrects the step
/// before it (UniC), then proposes the next one (UniP), without additional evaluations. x is alpha x0 + sigma eps as in
/// the forward process; orders rise from 1 at the start and fall to 1 at the end. What `step` returns is the proposal.
class UniPcSampler final : public Sampler {
 public:
  using Options = UniPcOptions;
  UniPcSampler(const Options& options, const Spec& spec);

  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }
  void start() override;
  Tensor step(const StepInput& input) override;

 private:
  /// x at level `index + 1`, computed from x at level `index` with the clean images up to `index` in history_ and, for
  /// the corrector, the one evaluated at the end of the step.
  Tensor update(const Tensor& x, std::size_t index, std::size_t order, const Tensor& x0_at_end) const;
  std::size_t order_of(std::size_t index) const;

  CleanImage clean_image_;
  UniPcOptions options_;
  std::vector<SampledLevel> levels_;
  double initial_scale_;
  std::vector<SampleStep> plan_;
  std::vector<Tensor> history_;  ///< clean images, by evaluation; those that no order reaches are undefined
  Tensor x_before_;              ///< corrected x at the start of the last step
};

}  // namespace casdm::sampler_diffusion
