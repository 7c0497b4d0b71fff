#include "framework/training/parameter_shares.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/training/module_optimizer.h"

namespace casdm {

namespace {

constexpr std::size_t kTriedParts = 4;
constexpr int kTriedSteps = 3;
constexpr double kTriedRate = 1e-2;

/// Of each parameter, with what lies between it and the next one.
std::vector<std::int64_t> lengths_of(const Optimizer::Spec& spec) {
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    const bool is_last = i + 1 == spec.parameters.size();
    const std::int64_t end = is_last ? spec.weights.numel() : spec.parameters[i + 1].offset;
    lengths.push_back(end - spec.parameters[i].offset);
  }
  return lengths;
}

/// As many ranges as needed, each as long as possible but not longer than `longest`, unless it is a single parameter.
std::vector<ParameterRange> filled(const std::vector<std::int64_t>& lengths, std::int64_t longest) {
  std::vector<ParameterRange> ranges(1);
  for (const std::int64_t length : lengths) {
    if (ranges.back().count > 0 && ranges.back().flat.length + length > longest) {
      const ParameterRange& last = ranges.back();
      ranges.push_back({last.first + last.count, 0, {last.flat.offset + last.flat.length, 0}});
    }
    ranges.back().count += 1;
    ranges.back().flat.length += length;
  }
  return ranges;
}

/// The weights and the state of optimizers after some steps with gradients that are the same for the same names.
NamedTensors tried(const std::vector<Component<Optimizer>>& optimizers, const Optimizer::Spec& spec) {
  const at::NoGradGuard no_grad;
  const Tensor gradients = spec.gradients.clone();
  for (int step = 0; step < kTriedSteps; ++step) {
    spec.gradients.copy_(gradients).mul_(1.0 / (1 + step));
    for (const auto& optimizer : optimizers) optimizer.call(&Optimizer::step, OptimizerStep{kTriedRate});
  }
  NamedTensors result;
  for (const auto& optimizer : optimizers) {
    for (auto& buffer : optimizer.call(&Optimizer::buffers)) result.push_back(std::move(buffer));
  }
  result.emplace_back("", spec.weights);
  return result;
}

/// What differs between a whole and its parts, in words; empty: nothing.
std::string difference(const NamedTensors& whole, const NamedTensors& parts) {
  std::map<std::string, Tensor> expected(whole.begin(), whole.end());
  std::map<std::string, bool> is_found;
  for (const auto& [name, tensor] : parts) {
    const auto same = expected.find(name);
    if (same == expected.end() || same->second.sizes() != tensor.sizes()) return "keep other state than one of all";
    if (!at::allclose(tensor.to(at::kDouble), same->second.to(at::kDouble), 1e-4, 1e-6)) {
      return "take other steps than one of all";
    }
    is_found[name] = true;
  }
  return is_found.size() == expected.size() ? "" : "keep less state than one of all";
}

}  // namespace

std::vector<ParameterRange> shares_of_parameters(const Optimizer::Spec& spec, std::size_t count) {
  const std::vector<std::int64_t> lengths = lengths_of(spec);
  std::int64_t low = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  std::int64_t high = spec.weights.numel();
  while (low < high) {
    const std::int64_t middle = std::midpoint(low, high);
    if (filled(lengths, middle).size() <= count) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  std::vector<ParameterRange> ranges = filled(lengths, low);
  ranges.resize(count, {spec.parameters.size(), 0, {spec.weights.numel(), 0}});
  return ranges;
}

std::vector<ParameterRange> slices_of_parameters(const Optimizer::Spec& spec, std::int64_t longest) {
  std::vector<std::int64_t> lengths = lengths_of(spec);
  if (lengths.empty()) return {};
  std::reverse(lengths.begin(), lengths.end());
  std::vector<ParameterRange> slices = filled(lengths, longest);
  for (ParameterRange& slice : slices) {
    slice.first = spec.parameters.size() - slice.first - slice.count;
    slice.flat.offset = spec.weights.numel() - slice.flat.offset - slice.flat.length;
  }
  return slices;
}

Optimizer::Spec parameters_of(const Optimizer::Spec& spec, const ParameterRange& range) {
  const auto cut = [&](const Tensor& flat) {
    return flat.defined() ? flat.narrow(0, range.flat.offset, range.flat.length) : flat;
  };
  Optimizer::Spec part{{}, cut(spec.weights), cut(spec.gradients)};
  for (std::size_t i = range.first; i < range.first + range.count; ++i) {
    part.parameters.push_back(spec.parameters[i]);
    part.parameters.back().offset -= range.flat.offset;
  }
  return part;
}

std::vector<std::string> state_of_divided(const MakeOptimizer& make_optimizer, const Optimizer::Spec& spec,
                                          const std::string& module) {
  const Optimizer::Spec all = small_stand_ins(spec), divided = small_stand_ins(spec);
  const Component<Optimizer> one = make_optimizer(all);
  std::vector<Component<Optimizer>> several;
  for (const ParameterRange& range : shares_of_parameters(divided, kTriedParts)) {
    if (range.count > 0) several.push_back(make_optimizer(parameters_of(divided, range)));
  }
  const std::string found = difference(tried({one}, all), tried(several, divided));
  if (!found.empty()) {
    throw WorldConfigError(text("train.shard_optimizer: the optimiser ", one.config().type, " of module ", module,
                                " cannot be divided among processes: optimisers of some of its parameters ", found,
                                " of them. Set train.shard_optimizer = false, or choose another optimiser"));
  }
  std::vector<std::string> names;
  for (const auto& [name, buffer] : one.call(&Optimizer::buffers)) names.push_back(name);
  return names;
}

}  // namespace casdm
