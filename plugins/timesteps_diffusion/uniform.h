#pragma once

#include "casdm/choice.h"
#include "casdm/options.h"
#include "casdm/timestep_sampler.h"

namespace casdm::timesteps_diffusion {

enum class Spread { independent, stratified, low_discrepancy };

constexpr auto choices_of(Spread) {
  using enum Spread;
  return choices<Spread>(
      {{independent, "independent"}, {stratified, "stratified"}, {low_discrepancy, "low_discrepancy"}});
}

struct UniformOptions {
  Spread spread = Spread::independent;

  static void describe(Schema<UniformOptions>& s);
};

/// Every time of the path is equally likely: t = floor(T v), or linear in v if times are not whole numbers, with v_i
/// for image i of a batch of B:
///
///     independent       v_i = u_i
///     stratified        v_i = (i + u_i) / B
///     low_discrepancy   v_i = (i / B + u_0) mod 1   (Kingma et al. 2021, appendix I.1)
///
/// The last two spread each batch evenly over the diffusion, which reduces the variance of the loss; the expectation of
/// its mean over a batch stays the same.
class UniformTimesteps : public TimestepSampler {
 public:
  using Options = UniformOptions;

  UniformTimesteps(const UniformOptions& options, const Spec& spec);

  TimestepDraw draw(const std::vector<double>& u) const override;

 private:
  UniformOptions options_;
  TimeRange times_;
};

}  // namespace casdm::timesteps_diffusion
