#include "framework/training/loss_scaler.h"

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr double kFirstScale = 65536;
constexpr double kSmallestScale = 1.0 / 65536;
constexpr std::int64_t kGrowthInterval = 2000;

/// The name of a scale shared by all modules.
constexpr const char* kAll = "*";

}  // namespace

LossScaler::Scale LossScaler::checked(const Value& scale, const Value& good_steps) {
  const Scale result{scale.as_number(), good_steps.as_integer(), false};
  if (std::isfinite(result.value) && result.value > 0 && result.good_steps >= 0) return result;
  throw Error(text("a loss scale is ", number(result.value), " after ", result.good_steps, " good steps"));
}

std::map<std::string, LossScaler::Scale> LossScaler::from_table(const Value& state) const {
  std::map<std::string, Scale> result;
  for (const auto& [module, entry] : state.as_table()) {
    const Value* scale = entry.find("scale");
    const Value* good_steps = entry.find("good_steps");
    if (scale == nullptr || good_steps == nullptr) throw Error(text("the loss scale of ", module, " is incomplete"));
    result[module] = checked(*scale, *good_steps);
  }
  return result;
}

std::map<std::string, LossScaler::Scale> LossScaler::from_list(const Value::Array& state) const {
  std::map<std::string, Scale> result;
  const std::size_t count = state.size() / 2;
  if (!is_active_ || count == 0) return result;
  if (state.size() != 2 * count || (is_separate_ && count > 1 && count != scales_.size())) {
    throw Error(text("it has ", state.size(), " numbers of loss scales for ", scales_.size(), " modules"));
  }
  auto module = scales_.begin();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = count == 1 ? kAll : is_separate_ ? (module++)->first : std::to_string(i);
    result[name] = checked(state[2 * i], state[2 * i + 1]);
  }
  return result;
}

LossScaler::LossScaler(const std::vector<NamedModule>& modules, Precision precision, bool separate)
    : is_active_(precision == Precision::fp16), is_separate_(separate) {
  for (const NamedModule& module : modules) {
    scales_[separate ? module.name : kAll].value = is_active_ ? kFirstScale : 1;
  }
}

const LossScaler::Scale& LossScaler::of(const std::string& module) const {
  const auto found = scales_.find(is_separate_ ? module : kAll);
  if (found != scales_.end()) return found->second;
  throw PluginError(text("the head has a loss term for module '", module, "', which it does not have"));
}

double LossScaler::scale(const std::string& module) const { return of(module).value; }

bool LossScaler::has_overflowed(const std::string& module) const { return of(module).overflowed; }

void LossScaler::observe(const StepRecord& record) {
  if (!is_active_) return;
  for (std::size_t i = 0; i < record.modules.size(); ++i) {
    if (std::isfinite(record.grad_norms[static_cast<std::int64_t>(i)].item<double>())) continue;
    Scale& scale = scales_.at(is_separate_ ? record.modules[i] : kAll);
    scale.overflowed = true;
    if (scale.value > kSmallestScale) continue;
    throw NotFinite(text("step ", record.step, ": the gradient of module ", record.modules[i],
                         " is not finite even at the smallest fp16 loss scale"));
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

Value LossScaler::state() const {
  Value result{Value::Table{}};
  if (!is_active_) return result;
  for (const auto& [module, scale] : scales_) {
    Value entry{Value::Table{}};
    entry.set("scale", scale.value);
    entry.set("good_steps", scale.good_steps);
    result.set(module, std::move(entry));
  }
  return result;
}

void LossScaler::restore(const Value& state) {
  std::map<std::string, Scale> saved = state.is_array() ? from_list(state.as_array()) : from_table(state);
  if (!is_active_ || saved.empty()) return;
  for (auto& [module, scale] : scales_) {
    const auto own = saved.find(module);
    const auto common = saved.find(kAll);
    if (own != saved.end()) {
      scale = own->second;
    } else if (common != saved.end()) {
      scale = common->second;
    } else if (!is_separate_) {
      scale = std::min_element(saved.begin(), saved.end(), [](const auto& a, const auto& b) {
                return a.second.value < b.second.value;
              })->second;
    } else {
      throw Error(text("there is no loss scale for module ", module));
    }
  }
}

}  // namespace casdm
