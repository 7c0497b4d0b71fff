#include "framework/training/average_rule.h"

#include <algorithm>
#include <cmath>

#include "framework/training/power_function.h"

namespace casdm {

AverageRule::AverageRule(const EmaOptions& main)
    : name_("ema"),
      decay_(main.decay),
      warmup_(main.warmup),
      half_life_(main.half_life),
      rampup_ratio_(main.rampup_ratio) {}

AverageRule::AverageRule(const AverageOptions& options, bool warmup)
    : name_(options.name),
      decay_(options.decay.value_or(0)),
      warmup_(warmup),
      half_life_(options.half_life.value_or(0)),
      rampup_ratio_(options.rampup_ratio),
      sigma_rel_(options.sigma_rel) {
  if (sigma_rel_) gamma_ = gamma_of(*sigma_rel_);
}

double AverageRule::keep(const AverageTime& now) const {
  const auto batch = static_cast<double>(now.batch_size);
  const auto images = static_cast<double>(now.images);
  if (sigma_rel_) return std::pow(1 - batch / images, gamma_ + 1);
  if (half_life_ > 0) {
    const auto longest = static_cast<double>(half_life_);
    const double half_life = rampup_ratio_ > 0 ? std::min(longest, rampup_ratio_ * (images - batch)) : longest;
    return half_life > 0 ? std::exp2(-batch / half_life) : 0.0;
  }
  const auto step = static_cast<double>(now.step);
  return warmup_ ? std::min(decay_, (1 + step) / (10 + step)) : decay_;
}

std::vector<AverageRule> average_rules(const EmaOptions& options) {
  std::vector<AverageRule> rules = {AverageRule(options)};
  for (const AverageOptions& also : options.also) rules.emplace_back(also, options.warmup);
  return rules;
}

}  // namespace casdm
