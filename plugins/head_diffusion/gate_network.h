#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/module.h"
#include "casdm/noise_scheduler.h"
#include "casdm/parameter_maker.h"

namespace casdm::head_diffusion {

/// A small network for a gate that must not train the network beside it.
///
/// A backbone produces its output as a whole: a gradient into the gate's channels always reaches the trunk. If that is
/// unwanted, the gate gets two convolutions of its own, whose inputs are the two clean images to choose between and the
/// noise level. The last one starts at zero, so the gate starts like that of a zero-initialised backbone.
class GateNetwork : public Module {
 public:
  GateNetwork(std::int64_t image_channels, std::int64_t gate_channels, std::uint64_t seed);

  NamedTensors parameters() const override { return make_.made(); }
  ParameterRole role(std::string_view parameter) const override;

  /// @param x0,      x0_from_eps [B, C, H, W]; no gradient flows to them
  /// @param log_snr  [B]
  /// @return                 [B, gate_channels, H, W] in the dtype of x0
  Tensor forward(const Tensor& x0, const Tensor& x0_from_eps, const Tensor& log_snr) const;

 private:
  ParameterMaker make_;
  Tensor in_weight_, in_bias_;
  LayerParameters out_;
};

/// A module combined with another one, whose names get `prefix`.
class ExtendedModule : public Module {
 public:
  ExtendedModule(std::shared_ptr<Module> module, std::string prefix, std::shared_ptr<Module> extension);
  NamedTensors parameters() const override;
  NamedTensors buffers() const override;
  void train(bool on) override;
  ParameterRole role(std::string_view parameter) const override;
  /// That of the first module alone.
  WeightShadow begin_shadow(const Tensor& weights) override { return module_->begin_shadow(weights); }
  void end_shadow() override { module_->end_shadow(); }

 private:
  NamedTensors joined(NamedTensors own, const NamedTensors& extension) const;

  std::shared_ptr<Module> module_;
  std::string prefix_;
  std::shared_ptr<Module> extension_;
};

}  // namespace casdm::head_diffusion
