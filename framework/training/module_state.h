#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/optimizer.h"
#include "framework/composition/kept_buffers.h"
#include "framework/config/ema_options.h"
#include "framework/loading/component.h"
#include "framework/training/average_rule.h"
#include "framework/training/module_optimizer.h"
#include "framework/training/parameter_shares.h"
#include "framework/training/state_part.h"

namespace casdm {

/// Everything the training keeps for one module of the head: weights, gradients, the optimizer with its state, and the
/// moving averages.
///
/// The parameters are views into one flat tensor, and so are the gradients and averages, so that norm, clipping and
/// averaging are one operation each, whatever the number of layers. Nothing here depends on any other module.
///
/// Processes can divide a module that is trained: each keeps the optimizer's state and the averages of its share of the
/// parameters only, changes the weights of these, and gets the others' weights after the step (ZeRO-1, Rajbhandari et
/// al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", section 5.1).
class ModuleState {
 public:
  /// Moves the module to `device` and flattens it.
  /// @param make_optimizer  called once for the parameters, unless the module is frozen; if the module is divided, also
  ///                        for small stand-ins
  /// @param sharers         the processes that divide the module; null: it is not divided. Throws WorldConfigError if
  ///                        its optimizer does not allow that
  ModuleState(NamedModule module, const MakeOptimizer& make_optimizer, const EmaOptions& ema, c10::Device device,
              World* sharers = nullptr);

  /// If the module is divided, to be called once, by all processes, before the methods that name it.
  void begin_sharing();

  const std::string& name() const { return module_.name; }
  const Module& module() const { return *module_.module; }
  bool is_trainable() const { return module_.is_trainable; }
  /// "plugin/component"; empty: the module is frozen.
  std::string optimizer_type() const { return optimizer_ ? optimizer_.config().type : ""; }

  /// The module of which this one is the running average; empty: none.
  const std::string& average_of() const { return module_.average_of; }
  double average_decay() const { return module_.average_decay; }
  /// Keeps the fraction `decay` of the weights and takes the rest from `source`, which has the same parameters.
  /// @param defect  see `update_averages`
  void follow(const ModuleState& source, double decay, const Tensor& defect = Tensor());

  /// Whether the optimizer acts in the run's step `step`.
  bool is_due(std::int64_t step) const { return step % module_.update_every == 0; }

  void zero_grad();
  /// After a backward pass: adds the gradients of the parameters to the flat tensor, unless the pass has done so
  /// itself. A GPU adds them all at once.
  void gather_gradients();
  /// The same for the parameters of `range` in the middle of a backward pass, which from then on leaves that part of
  /// the flat tensor as it is.
  void gather_gradients(const ParameterRange& range);
  /// To be called after such a pass: the gradients that it has still computed for these parameters, as a flat tensor
  /// for the whole module; undefined: none.
  Tensor take_late_gradients(const ParameterRange& range);
  /// Whether a backward pass has computed a gradient, even of zeros, since `zero_grad` and before `optimizer_step`.
  bool has_gradient() const;
  /// Says that a gradient has been added to the flat tensor by a replay of a backward pass, which is not counted.
  void note_gradient() { flat_.gradients.unsafeGetTensorImpl()->bump_version(); }
  /// A count that any backward pass to the parameters changes, also before its gradients are gathered.
  std::int64_t gradient_changes() const;
  /// The first parameter that no longer has its weights and gradient in the flat tensors or requires no gradient, so
  /// that the optimizer would not train it, and why; empty: none. Between backward passes.
  std::string untrained_parameter() const;
  Tensor gradients() const { return flat_.gradients; }  ///< all, flat; undefined if frozen
  const Optimizer::Spec& flat() const { return flat_; }
  const std::vector<Tensor>& parameters() const { return parameters_; }  ///< in that order; none if frozen
  Tensor grad_norm() const;         ///< L2 norm of all gradients, scalar, before clipping
  bool has_finite_weights() const;  ///< waits for the device
  /// One step of the optimizer with the gradients multiplied by `scale` (a scalar tensor).
  void optimizer_step(double learning_rate, const Tensor& scale);
  /// The same, then `update_averages`; in one pass if the optimizer can, which leaves the gradients at 0.
  /// @param defect  as there; if it is NaN and the module `can_withhold` steps, only the gradients change
  void optimizer_step(double learning_rate, const Tensor& scale, const AverageTime& now,
                      const Tensor& defect = Tensor());
  /// Whether the device can decide that a step is not taken; not known before the first step.
  bool can_withhold() const { return !is_trainable() || is_one_pass_; }
  /// Has no bf16 copy of the weights written by the optimizer from now on: a graph would read it without asking whether
  /// it agrees with them.
  void forgo_shadow() { writes_shadow_ = false; }
  /// average += (1 - keep) (weights - average), for each average.
  /// @param defect  a number on the device; if it is NaN, the averages stay as they are. Undefined: 0
  void update_averages(const AverageTime& now, const Tensor& defect = Tensor());

  /// Exchanges the weights of this process's share and their main average; calling it twice changes nothing.
  /// @param scratch  at least one number, like the weights; with more it is faster. Nothing else is allocated
  void swap_ema(const Tensor& scratch);

  /// If the module is divided, gets the weights of the other processes' shares; all must call it.
  void share_weights();

  /// Begins the averages at the present weights.
  void restart_averages();

  /// The same for a divided module before its first step, and its optimizer anew: either may have copied other weights.
  void restart_share();

  /// The averages, main one first.
  const std::vector<AverageRule>& rules() const { return rules_; }

  /// Handles to the state by name: copying into them restores it. Throws PluginError if the buffers are no longer those
  /// of the beginning, so that a checkpoint could not be restored.
  NamedTensors weights() const;
  NamedTensors average(std::size_t index = 0) const;  ///< of rules()[index]; parameters of the share, and buffers
  NamedTensors optimizer_state() const;

  /// The same as parts of a checkpoint. Needs `begin_sharing`.
  StatePart average_part(std::size_t index) const;
  StatePart optimizer_part() const;

  /// Whether the processes divide it.
  bool is_divided() const { return division_ != nullptr; }

  /// Adds the bytes of averages and optimizer state in each process, by rank, if divided. Needs `begin_sharing`.
  void add_divided_bytes(std::vector<std::int64_t>& bytes) const;

 private:
  struct Division;

  void take_optimizer(const MakeOptimizer& make_optimizer);
  bool whole_step(double learning_rate, const Tensor& scale, const AverageTime& now, const Tensor& defect);
  std::vector<Tensor> tensors_of_step() const;  ///< that a step changes
  void move_average(std::size_t index, const AverageTime& now, const Tensor& defect);

  NamedModule module_;
  std::vector<AverageRule> rules_;
  Optimizer::Spec flat_;
  std::shared_ptr<Division> division_;  ///< null if each process does all
  Optimizer::Spec own_;                 ///< the share of this process
  std::vector<TensorForm> buffers_;     ///< of the module
  std::vector<Tensor> parameters_;      ///< of the module itself; none if frozen
  bool is_apart_;                       ///< whether their gradients must be gathered
  Component<Optimizer> optimizer_;      ///< none if frozen, or if the share is empty
  KeptBuffers<Optimizer> optimizer_state_;
  HeldTensors held_;  ///< by the optimizer
  std::vector<Tensor> averages_;
  std::int64_t zeroed_version_ = 0;  ///< version counter of the gradients' tensor when it was set to zero
  bool is_zeroed_ = false;           ///< by the optimizer, with that version
  bool is_one_pass_ = false;         ///< whether the last step was taken in one pass
  bool writes_shadow_ = true;        ///< where module and optimizer can
};

/// The tensors that `part` returns for each module, with names "<module>.<name>".
NamedTensors prefixed(const std::vector<ModuleState>& modules,
                      const std::function<NamedTensors(const ModuleState&)>& part);

/// The tensors of `all` whose names begin with "<module>.", without that prefix.
NamedTensors part_of(const NamedTensors& all, const std::string& module);

/// Copies `values` into the tensors behind `handles`; throws like load_state.
void copy_into(const NamedTensors& handles, const NamedTensors& values, std::string_view source);

/// One average of all modules, with names "<module>.<name>"; of divided ones, in the first process only. All processes
/// must call it.
NamedTensors average_of(const std::vector<ModuleState>& modules, std::size_t index);

}  // namespace casdm
