#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "casdm/optimizer.h"
#include "framework/distributed/world.h"
#include "framework/loading/component.h"

namespace casdm {

/// Creates the optimizer of a module, or of a part of it, over its flat tensors.
using MakeOptimizer = std::function<Component<Optimizer>(const Optimizer::Spec&)>;

/// Consecutive parameters of a module, and where they are in its flat tensors.
struct ParameterRange {
  std::size_t first = 0;
  std::size_t count = 0;
  FlatRange flat;
};

/// Divides the parameters into `count` consecutive ranges of which the longest is as short as possible. The last ones
/// may be empty.
std::vector<ParameterRange> shares_of_parameters(const Optimizer::Spec& spec, std::size_t count);

/// Divides the parameters, beginning with the last ones, into consecutive ranges, each as long as possible but not
/// longer than `longest` elements, unless it is a single parameter.
std::vector<ParameterRange> slices_of_parameters(const Optimizer::Spec& spec, std::int64_t longest);

/// The parameters of `range` alone; the tensors are views into those of `spec`.
Optimizer::Spec parameters_of(const Optimizer::Spec& spec, const ParameterRange& range);

/// The names of the state that one optimizer of all parameters keeps, in its order.
///
/// Optimizers of the parts of small stand-ins take steps beside one of the whole. Throws WorldConfigError unless they
/// do the same up to rounding, and together keep the same state.
/// @param module  its name, for messages
std::vector<std::string> state_of_divided(const MakeOptimizer& make_optimizer, const Optimizer::Spec& spec,
                                          const std::string& module);

}  // namespace casdm
