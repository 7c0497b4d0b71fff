#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/module.h"

namespace casdm CASDM_API {

/// One parameter of the module that an optimiser changes.
struct OptimizedParameter {
  std::string name;  ///< within the module
  ParameterRole role = ParameterRole::matrix;
  std::int64_t offset = 0;  ///< of its first element in the flat tensors
  Tensor weight;            ///< a view into Optimizer::Spec::weights, of the parameter's shape
  Tensor gradient;          ///< the same view into Optimizer::Spec::gradients
};

/// What one step is given. Members may be added.
struct OptimizerStep {
  double learning_rate = 0;
};

/// Changes the weights of one module by its gradients.
///
/// All parameters of a module lie in one flat tensor, and so do their gradients: an element-wise rule is a few
/// operations on those two, whatever the number of layers. A rule that needs shapes or roles goes over the parameters.
///
///     class SignDescent final : public casdm::Optimizer {
///      public:
///       using Options = casdm::NoOptions;
///       SignDescent(const Options&, const Spec& spec) : weights_(spec.weights), gradients_(spec.gradients) {}
///       void step(const casdm::OptimizerStep& step) override { weights_.sub_(gradients_.sign(), step.learning_rate); }
///      private:
///       casdm::Tensor weights_, gradients_;
///     };
///
/// The host makes one optimiser per module, handles the learning-rate schedule, clipping and averages, and skips a
/// step when fp16 overflowed. State is a buffer (casdm/module.h), as in TimestepSampler: it is saved in checkpoints
/// and restored by copying into it, so what is not a buffer is not remembered. Every parameter must be changed by its
/// gradient: before training the host tries a step on small stand-ins of the parameters, and names those that stayed as
/// they were. One thread calls it at a time, without gradient.
class Optimizer : public Module {
 public:
  using Interface = Optimizer;
  static constexpr std::string_view kind = "optimizer";
  static constexpr int interface_version = 2;

  struct Spec {
    std::vector<OptimizedParameter> parameters;
    Tensor weights;    ///< float32 [N], every parameter's elements; what lies between parameters is 0 and stays it
    Tensor gradients;  ///< float32 [N], 0 between parameters
  };

  ~Optimizer() override;

  /// Changes the weights in place. The gradients hold what the step is for, clipped and unscaled, and may be
  /// overwritten. It must not wait for the device (`item`, copies to the CPU).
  virtual void step(const OptimizerStep& step) = 0;
};

/// "matrix", "convolution", ...
std::string_view to_string(ParameterRole role);

/// The default role of a parameter: two dimensions are a matrix, more a convolution; fewer are a bias when
/// the last part of the name has "bias" in it, else a norm.
/// @param name  "blocks.3.conv.weight"
ParameterRole role_by_shape(std::string_view name, at::IntArrayRef shape);

/// A flat tensor beside `spec.weights`, such as a moment, by the names of the parameters: "<prefix>.<name>", each a
/// view with the parameter's shape.
NamedTensors named_views(const Optimizer::Spec& spec, const Tensor& flat, std::string_view prefix);

}  // namespace casdm
