#pragma once

#include "casdm/plugin_registrar.h"
#include "casdm/weight_layout.h"

/// DitBackbone's weights in other programs' files.
namespace casdm::dit {

/// The names of Peebles & Xie's implementation, which are DitBackbone's own: a file of tensors.
class DitWeights final : public WeightLayout {
 public:
  using Options = NoOptions;

  DitWeights(const NoOptions&, const Spec&) {}

  WeightLayoutInfo info() const override;
  LayoutMatch recognise(const ForeignWeights& weights) const override;
  BackboneWeights read(const ForeignWeights& weights) const override;
  ForeignWeights write(const BackboneWeights& weights) const override;
};

/// DiTTransformer2DModel of diffusers: a folder of config.json and tensors. It repeats the embedding of time and class
/// in every block.
class DiffusersDitWeights final : public WeightLayout {
 public:
  using Options = NoOptions;

  DiffusersDitWeights(const NoOptions&, const Spec&) {}

  WeightLayoutInfo info() const override;
  LayoutMatch recognise(const ForeignWeights& weights) const override;
  BackboneWeights read(const ForeignWeights& weights) const override;
  ForeignWeights write(const BackboneWeights& weights) const override;
};

}  // namespace casdm::dit
