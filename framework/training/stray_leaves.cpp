#include "framework/training/stray_leaves.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <unordered_set>

namespace casdm {

namespace {

using Node = torch::autograd::Node;

/// All that a backward pass from the terms would run.
std::unordered_set<const Node*> nodes_of(const std::vector<LossTerm>& terms) {
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> open;
  const auto add = [&](const Node* node) {
    if (node != nullptr && seen.insert(node).second) open.push_back(node);
  };
  for (const LossTerm& term : terms) {
    if (term.value.requires_grad()) add(term.value.grad_fn().get());
  }
  while (!open.empty()) {
    const Node* const node = open.back();
    open.pop_back();
    for (const torch::autograd::Edge& next : node->next_edges()) add(next.function.get());
  }
  return seen;
}

}  // namespace

std::vector<Tensor> stray_leaves(const std::vector<LossTerm>& terms, const std::vector<Tensor>& parameters) {
  std::unordered_set<const void*> known;
  for (const Tensor& parameter : parameters) known.insert(parameter.unsafeGetTensorImpl());
  std::vector<Tensor> found;
  for (const Node* node : nodes_of(terms)) {
    const auto* leaf = dynamic_cast<const torch::autograd::AccumulateGrad*>(node);
    if (leaf != nullptr && !known.contains(leaf->variable.unsafeGetTensorImpl())) found.push_back(leaf->variable);
  }
  return found;
}

bool depend_on(const std::vector<LossTerm>& terms, const Tensor& value) {
  return nodes_of(terms).contains(value.grad_fn().get());
}

}  // namespace casdm
