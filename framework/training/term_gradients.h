#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "framework/distributed/world.h"
#include "framework/training/loss_scaler.h"
#include "framework/training/module_state.h"
#include "framework/training/step_record.h"

namespace casdm {

/// Measures TermNorms. Needs memory for another set of gradients; if a batch is computed in parts, for one set per
/// term.
class TermGradients {
 public:
  /// @param parts  of this process's part of the batch
  /// @param world  processes whose gradients are summed
  TermGradients(std::vector<ModuleState>& modules, std::int64_t parts, World& world)
      : modules_(modules), parts_(parts), world_(world) {}

  /// To be called for each part of the batch in turn and each of its terms: `backward` adds the gradient of `term` to
  /// the modules' gradients, which are restored afterwards.
  void add(const LossTerm& term, const std::function<void()>& backward);

  /// To be called after all parts.
  TermNorms norms(const LossScaler& scaler) const;

 private:
  struct OfTerm {
    std::string name;
    std::string module;             ///< whose loss scale applies
    std::int64_t parts = 0;         ///< added so far
    std::vector<Tensor> gradients;  ///< their sum by module; undefined where it is frozen
    Tensor norms;                   ///< [trainable modules], once all parts are added
  };
  OfTerm& entry_of(const LossTerm& term);

  std::vector<ModuleState>& modules_;
  std::int64_t parts_;
  World& world_;
  std::vector<OfTerm> terms_;
};

}  // namespace casdm
