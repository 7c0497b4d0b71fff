#include "framework/training/loss_scaler.h"

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr double kFirstScale = 65536;
constexpr double kSmallestScale = 1.0 / 65536;
constexpr std::int64_t kGrowthInterval = 2000;

}  // namespace

LossScaler::LossScaler(const std::vector<NamedModule>& modules, const std::string& precision, bool separate)
    : is_active_(precision == "fp16"), is_separate_(separate) {
  for (const NamedModule& module : modules) {
    scales_[separate ? module.name : ""].value = is_active_ ? kFirstScale : 1;
  }
}

const LossScaler::Scale& LossScaler::of(const std::string& module) const {
  const auto found = scales_.find(is_separate_ ? module : "");
  if (found != scales_.end()) return found->second;
  throw PluginError(text("the head has a loss term for module '", module, "', which it does not have"));
}

double LossScaler::scale(const std::string& module) const { return of(module).value; }

bool LossScaler::has_overflowed(const std::string& module) const { return of(module).overflowed; }

void LossScaler::observe(const StepRecord& record) {
  if (!is_active_) return;
  for (std::size_t i = 0; i < record.modules.size(); ++i) {
    if (std::isfinite(record.grad_norms[static_cast<std::int64_t>(i)].item<double>())) continue;
    Scale& scale = scales_.at(is_separate_ ? record.modules[i] : "");
    scale.overflowed = true;
    if (scale.value > kSmallestScale) continue;
    throw Error(text("step ", record.step, ": the gradient of module ", record.modules[i],
                     " is not finite even at the ",
                     "smallest fp16 loss scale; the last checkpoint is kept. Try bf16 or fp32"));
  }
}

void LossScaler::update() {
  if (!is_active_) return;
  for (auto& [module, scale] : scales_) {
    if (scale.overflowed) {
      scale = {scale.value / 2, 0, false};
    } else if (++scale.good_steps >= kGrowthInterval) {
      scale = {scale.value * 2, 0, false};
    }
  }
}

std::vector<double> LossScaler::state() const {
  std::vector<double> result;
  if (!is_active_) return result;
  for (const auto& [module, scale] : scales_) {
    result.push_back(scale.value);
    result.push_back(static_cast<double>(scale.good_steps));
  }
  return result;
}

void LossScaler::restore(const std::vector<double>& state) {
  if (state.size() != (is_active_ ? 2 * scales_.size() : 0)) return;
  std::size_t i = 0;
  for (auto& [module, scale] : scales_) {
    if (!is_active_) break;
    scale.value = state[i++];
    scale.good_steps = static_cast<std::int64_t>(state[i++]);
  }
}

}  // namespace casdm
