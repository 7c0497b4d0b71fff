#pragma once

#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/optimizer.h"
#include "framework/config/experiment.h"
#include "framework/loading/component.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// One flat float32 tensor for the weights of `parameters`, one for their gradients, both filled with 0, and the views
/// into them in the same order. Each parameter starts on a cache line.
/// @param parameters  names and shapes; their values are ignored
/// @param is_trained  false: no gradients
Optimizer::Spec flat_parameters(const NamedTensors& parameters, c10::Device device, bool is_trained = true);

/// Throws ConfigError if there is a table [optimizer.MODULE] for a module that the head does not have.
void check_module_names(const OptimizerOptions& options, const std::vector<NamedModule>& modules);

/// The tensors that an optimizer was given: it changes their values, never the tensors.
class HeldTensors {
 public:
  HeldTensors() = default;
  explicit HeldTensors(const Optimizer::Spec& spec);

  /// Throws PluginError if one has other memory or another shape now: what the optimizer writes there trains nothing.
  void check(const Component<Optimizer>& optimizer) const;

 private:
  struct Held {
    std::string name;
    Tensor tensor;
    const void* memory;
    std::vector<std::int64_t> sizes;
  };

  std::vector<Held> tensors_;
};

/// The optimizer that [optimizer] chooses for `module`, over the tensors of `spec`.
///
/// Before that, another instance takes a step on small CPU stand-ins of the parameters with the same names and roles.
/// Throws PluginError with the names of parameters that the step left unchanged.
Component<Optimizer> make_optimizer(const PluginHost& host, const OptimizerOptions& options, const std::string& module,
                                    const Optimizer::Spec& spec);

/// Such stand-ins, with random weights and gradients.
Optimizer::Spec small_stand_ins(const Optimizer::Spec& spec);

/// The parameters whose weights one step of `optimizer` leaves unchanged. Throws PluginError if the step replaces
/// tensors of `spec`.
std::vector<std::string> left_as_they_are(const Component<Optimizer>& optimizer, const Optimizer::Spec& spec);

}  // namespace casdm
