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

/// Dynamic loss scaling for fp16 (Micikevicius et al. 2018), one scale a module, so that an overflow in
/// one module's gradients never touches another's; one scale for all where the head's gradients are not separate, or
/// one norm is taken over all. In other precisions every scale is 1.
class LossScaler {
 public:
  LossScaler(const std::vector<NamedModule>& modules, Precision precision, bool separate);

  bool is_active() const { return is_active_; }
  double scale(const std::string& module) const;

  /// Takes note of the modules whose gradient norms are not finite: they must not step. Throws
  /// NotFinite when one is not at the smallest scale either.
  void observe(const StepRecord& record);
  bool has_overflowed(const std::string& module) const;

  /// Halves the scales that overflowed, doubles those that have not for 2000 steps.
  void update();

  /// {name: {"scale", "good_steps"}}, empty in other precisions than fp16; one entry "*" where one scale is for all.
  Value state() const;

  /// Takes over such a state. One for all becomes one of each module, and the smallest of all one for all, since
  /// optimizer.grouping may change at a resume; so may the precision, and scales then start again. Throws Error when a
  /// module's is missing or no scale.
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
