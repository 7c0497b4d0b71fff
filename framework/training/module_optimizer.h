#pragma once

#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/optimizer.h"
#include "framework/config/experiment.h"
#include "framework/loading/component.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// One flat float32 tensor for the weights of `parameters`, one for their gradients, both 0, and the views into them in
/// the same order. Each parameter begins on a cache line.
/// @param parameters  names and shapes; their values do not count
/// @param is_trained  false: no gradients
Optimizer::Spec flat_parameters(const NamedTensors& parameters, c10::Device device, bool is_trained = true);

/// Throws ConfigError when there is a table [optimizer.MODULE] for a module that the head lacks.
void check_module_names(const OptimizerOptions& options, const std::vector<NamedModule>& modules);

/// The optimizer that [optimizer] chooses for `module`, over the tensors of `spec`.
///
/// Before that, another one takes a step on stand-ins of the parameters, of the same names and roles but a few
/// elements, on the CPU. Throws PluginError that names the parameters which the step left as they were.
Component<Optimizer> make_optimizer(const PluginHost& host, const OptimizerOptions& options, const std::string& module,
                                    const Optimizer::Spec& spec);

/// Such stand-ins, with random weights and gradients.
Optimizer::Spec small_stand_ins(const Optimizer::Spec& spec);

/// The parameters whose weights one step of `optimizer` leaves as they are.
std::vector<std::string> left_as_they_are(const Component<Optimizer>& optimizer, const Optimizer::Spec& spec);

}  // namespace casdm
