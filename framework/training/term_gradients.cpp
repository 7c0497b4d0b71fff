#include "framework/training/term_gradients.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace casdm {

TermGradients::OfTerm& TermGradients::entry_of(const LossTerm& term) {
  const auto found = std::find_if(terms_.begin(), terms_.end(), [&](const OfTerm& t) { return t.name == term.name; });
  if (found != terms_.end()) return *found;
  return terms_.emplace_back(OfTerm{term.name, term.module, 0, std::vector<Tensor>(modules_.size()), {}});
}

void TermGradients::add(const LossTerm& term, const std::function<void()>& backward) {
  std::vector<Tensor> before;
  for (ModuleState& module : modules_) {
    before.push_back(module.has_gradient() ? module.gradients().clone() : Tensor());
    module.zero_grad();
  }
  backward();
  const at::NoGradGuard no_grad;
  OfTerm& sum = entry_of(term);
  const bool is_last = ++sum.parts == parts_;
  std::vector<Tensor> norms;
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    if (!modules_[i].is_trainable()) continue;
    Tensor gradients = modules_[i].gradients();
    Tensor& of_module = sum.gradients[i];
    const Tensor total = of_module.defined() ? of_module.add_(gradients) : gradients;
    if (is_last) {
      world_.sum(total);
      norms.push_back(total.norm());
    }
    of_module = is_last ? Tensor() : of_module.defined() ? of_module : gradients.clone();
    if (before[i].defined()) {
      gradients.copy_(before[i]);
    } else {
      modules_[i].zero_grad();
    }
  }
  if (is_last && !norms.empty()) sum.norms = at::stack(norms);
}

TermNorms TermGradients::norms(const LossScaler& scaler) const {
  TermNorms result;
  for (const ModuleState& module : modules_) {
    if (module.is_trainable()) result.modules.push_back(module.name());
  }
  std::vector<Tensor> rows;
  for (const OfTerm& term : terms_) {
    if (!term.norms.defined()) continue;
    result.terms.push_back(term.name);
    rows.push_back(term.norms / scaler.scale(term.module));
  }
  if (!rows.empty()) result.values = at::stack(rows);
  return result;
}

}  // namespace casdm
