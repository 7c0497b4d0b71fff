#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/value.h"
#include "framework/config/run_choices.h"
#include "framework/training/step_record.h"

namespace casdm {

/// Dynamic loss scaling for fp16 (Micikevicius et al. 2018) with one scale per module, so that an overflow in one
/// module's gradients never affects another's; with a shared scale if the head's gradients are not separate or the norm
/// is taken over all modules. In other precisions every scale is 1.
class LossScaler {
 public:
  LossScaler(const std::vector<NamedModule>& modules, Precision precision, bool separate);

  bool is_active() const { return is_active_; }
  double scale(const std::string& module) const;

  /// Records the modules whose gradient norms are not finite: they must not take the step. Throws NotFinite if this
  /// happens at the smallest scale.
  void observe(const StepRecord& record);
  bool has_overflowed(const std::string& module) const;

  /// Halves the scales that overflowed and doubles those that have not for 2000 steps.
  void update();

  /// {name: {"scale", "good_steps"}}; empty in precisions other than fp16; a single entry "*" for a shared scale.
  Value state() const;

  /// Restores such a state. A shared scale is copied to each module, and the smallest of several becomes the shared
  /// one, since optimizer.grouping may change at a resume; so may the precision, in which case the scales start again.
  /// Throws Error if a module's scale is missing or invalid.
  void restore(const Value& state);

 private:
  struct Scale {
    double value = 1;
    std::int64_t good_steps = 0;
    bool overflowed = false;
  };
  const Scale& of(const std::string& module) const;
  static Scale checked(const Value& scale, const Value& good_steps);
  std::map<std::string, Scale> from_table(const Value& state) const;
  std::map<std::string, Scale> from_list(const Value::Array& state) const;  ///< of version 0.1: in the order of names

  bool is_active_;
  bool is_separate_;
  std::map<std::string, Scale> scales_;
};

}  // namespace casdm
