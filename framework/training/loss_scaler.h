#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "framework/training/step_record.h"

namespace casdm {

/// Dynamic loss scaling for fp16 (Micikevicius et al. 2018), one scale a module, so that an overflow in
/// one module's gradients never touches another's; one scale for all where the head's gradients
/// are not separate. In other precisions every scale is 1.
class LossScaler {
 public:
  LossScaler(const std::vector<NamedModule>& modules, const std::string& precision, bool separate);

  bool is_active() const { return is_active_; }
  double scale(const std::string& module) const;

  /// Takes note of the modules whose gradient norms are not finite: they must not step. Throws
  /// Error when one is not at the smallest scale either.
  void observe(const StepRecord& record);
  bool has_overflowed(const std::string& module) const;

  /// Halves the scales that overflowed, doubles those that have not for 2000 steps.
  void update();

  std::vector<double> state() const;
  void restore(const std::vector<double>& state);

 private:
  struct Scale {
    double value = 1;
    std::int64_t good_steps = 0;
    bool overflowed = false;
  };
  const Scale& of(const std::string& module) const;

  bool is_active_;
  bool is_separate_;
  std::map<std::string, Scale> scales_;
};

}  // namespace casdm
