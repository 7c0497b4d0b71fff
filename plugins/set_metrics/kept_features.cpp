#include "kept_features.h"

#include <ATen/ATen.h>

#include "casdm/random.h"
#include "state.h"

namespace casdm::set_metrics {

namespace {

constexpr const char* kRanks = "kept_ranks";
constexpr const char* kRows = "kept_features";

}  // namespace

NamedTensors KeptFeatures::none() const {
  return {{kRanks, at::empty({0}, at::kLong)}, {kRows, at::empty({0, dimension_}, at::kFloat)}};
}

void KeptFeatures::add(NamedTensors& state, const Tensor& rows, const std::vector<std::int64_t>& images) const {
  std::vector<std::int64_t> ranks;
  ranks.reserve(images.size());
  for (const std::int64_t image : images) {
    ranks.push_back(static_cast<std::int64_t>(derive_seed(seed_, "kept", static_cast<std::uint64_t>(image)) >> 1));
  }
  insert(state, at::tensor(ranks, at::kLong), rows.to(at::kCPU, at::kFloat));
}

void KeptFeatures::merge(NamedTensors& state, const NamedTensors& other) const {
  insert(state, tensor_of(other, kRanks), tensor_of(other, kRows));
}

void KeptFeatures::insert(NamedTensors& state, const Tensor& new_ranks, const Tensor& new_rows) const {
  Tensor& ranks = tensor_of(state, kRanks);
  Tensor& rows = tensor_of(state, kRows);
  const Tensor all = at::cat({ranks, new_ranks});
  if (all.size(0) <= limit_) {
    rows = at::cat({rows, new_rows});
    ranks = all;
    return;
  }
  const Tensor highest = std::get<0>(all.kthvalue(limit_));
  const Tensor entering = (new_ranks <= highest).nonzero().flatten();
  const Tensor leaving = (ranks > highest).nonzero().flatten();
  const Tensor entering_ranks = new_ranks.index_select(0, entering), entering_rows = new_rows.index_select(0, entering);
  const std::int64_t replaced = leaving.size(0), appended = entering.size(0) - replaced;
  ranks.index_copy_(0, leaving, entering_ranks.narrow(0, 0, replaced));
  rows.index_copy_(0, leaving, entering_rows.narrow(0, 0, replaced));
  if (appended == 0) return;
  ranks = at::cat({ranks, entering_ranks.narrow(0, replaced, appended)});
  rows = at::cat({rows, entering_rows.narrow(0, replaced, appended)});
}

Tensor KeptFeatures::of(const NamedTensors& state) {
  return tensor_of(state, kRows).index_select(0, tensor_of(state, kRanks).argsort());
}

KeepsFeatures::KeepsFeatures(const Spec& spec, std::int64_t images) : kept_(images, spec.feature.dimension, spec.seed) {
  require_pooled(spec.feature);
}

}  // namespace casdm::set_metrics
