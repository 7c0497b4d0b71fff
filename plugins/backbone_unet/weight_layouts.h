#pragma once

#include <optional>

#include "casdm/options.h"
#include "casdm/plugin_registrar.h"
#include "casdm/weight_layout.h"
#include "options.h"

/// UNetBackbone's weights in other programs' files.
namespace casdm::unet {

struct UNetLayoutOptions {
  std::optional<AttentionOrder> attention_order;

  static void describe(Schema<UNetLayoutOptions>& s);
};

/// The names of improved-diffusion and guided-diffusion, which are UNetBackbone's own: a file of tensors. Distinguished
/// from other networks by all names and shapes.
class AdmWeights final : public WeightLayout {
 public:
  using Options = UNetLayoutOptions;

  AdmWeights(const UNetLayoutOptions& options, const Spec& spec) : options_(options), spec_(spec) {}

  WeightLayoutInfo info() const override;
  LayoutMatch recognise(const ForeignWeights& weights) const override;
  BackboneWeights read(const ForeignWeights& weights) const override;
  ForeignWeights write(const BackboneWeights& weights) const override;

 private:
  UNetLayoutOptions options_;
  Spec spec_;
};

/// UNet2DModel of diffusers: a folder of config.json and tensors.
class DiffusersWeights final : public WeightLayout {
 public:
  using Options = UNetLayoutOptions;

  DiffusersWeights(const UNetLayoutOptions& options, const Spec&) : options_(options) {}

  WeightLayoutInfo info() const override;
  LayoutMatch recognise(const ForeignWeights& weights) const override;
  BackboneWeights read(const ForeignWeights& weights) const override;
  ForeignWeights write(const BackboneWeights& weights) const override;

 private:
  UNetLayoutOptions options_;
};

/// The names of EDM2's implementation, which are Edm2Backbone's own: a file of tensors. Shapes do not show the width of
/// the heads and the balances, so these are recorded.
class Edm2Weights final : public WeightLayout {
 public:
  using Options = NoOptions;

  Edm2Weights(const NoOptions&, const Spec&) {}

  WeightLayoutInfo info() const override;
  LayoutMatch recognise(const ForeignWeights& weights) const override;
  BackboneWeights read(const ForeignWeights& weights) const override;
  ForeignWeights write(const BackboneWeights& weights) const override;
};

}  // namespace casdm::unet
