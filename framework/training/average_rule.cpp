#include "framework/training/average_rule.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/training/power_profile.h"

namespace casdm {

namespace {

/// Names become parts of file names and words of the command line.
void check_name(const std::string& name) {
  const bool is_word = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (is_word && name != "ema" && name != "raw") return;
  throw ConfigError(
      text("ema.also: name = \"", name, "\": expected letters, digits, _ and -, and neither \"ema\" nor \"raw\""));
}

}  // namespace

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
  check_name(name_);
  const int forms = options.decay.has_value() + options.half_life.has_value() + options.sigma_rel.has_value();
  if (forms != 1) {
    throw ConfigError(
        text("ema.also: the average \"", name_, "\" needs exactly one of decay, half_life and sigma_rel, got ", forms));
  }
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
  std::set<std::string> names;
  std::set<double> widths;
  for (const AverageOptions& also : options.also) {
    rules.emplace_back(also, options.warmup);
    if (!names.insert(also.name).second)
      throw ConfigError(text("ema.also: two averages are named \"", also.name, "\""));
    if (also.sigma_rel && !widths.insert(*also.sigma_rel).second) {
      throw ConfigError(text("ema.also: two averages have sigma_rel = ", number(*also.sigma_rel)));
    }
  }
  if (options.snapshot_every_images > 0 && widths.empty()) {
    throw ConfigError(
        "ema.snapshot_every_images: snapshots are of averages with sigma_rel, and there is none; add two, such as "
        "[[ema.also]] name = \"p05\" sigma_rel = 0.05 and [[ema.also]] name = \"p10\" sigma_rel = 0.1");
  }
  return rules;
}

}  // namespace casdm
