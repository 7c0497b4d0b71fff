#include "framework/training/stray_leaves.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <unordered_set>

namespace casdm {

std::vector<Tensor> stray_leaves(const std::vector<LossTerm>& terms, const std::vector<Tensor>& parameters,
                                 std::int64_t batch_size) {
  std::unordered_set<const void*> known;
  for (const Tensor& parameter : parameters) known.insert(parameter.unsafeGetTensorImpl());
  std::unordered_set<const torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> open;
  const auto add = [&](torch::autograd::Node* node) {
    if (node != nullptr && seen.insert(node).second) open.push_back(node);
  };
  for (const LossTerm& term : terms) {
    if (term.value.requires_grad()) add(term.value.grad_fn().get());
  }
  std::vector<Tensor> found;
  while (!open.empty()) {
    torch::autograd::Node* const node = open.back();
    open.pop_back();
    if (const auto* leaf = dynamic_cast<const torch::autograd::AccumulateGrad*>(node)) {
      const Tensor& variable = leaf->variable;
      const bool is_of_batch = variable.dim() > 0 && variable.size(0) == batch_size;
      if (!is_of_batch && !known.contains(variable.unsafeGetTensorImpl())) found.push_back(variable);
    }
    for (const torch::autograd::Edge& next : node->next_edges()) add(next.function.get());
  }
  return found;
}

}  // namespace casdm
