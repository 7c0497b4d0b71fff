#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "layers.h"
#include "options.h"
#include "shape.h"

namespace casdm::dit {

/// The transformer of Peebles & Xie 2023 on patches of pixels, with the state names of their implementation
/// (`blocks.0.attn.qkv.weight`, ...): tokens are patches, time and class modulate every norm, and initially each block
/// is the identity and the output is zero. With `skips` it has U-ViT's long connections (Bao et al. 2023), with
/// `bottleneck` the reduced patches of Li & He 2025.
///
/// Images must have the Spec's size. Taps are "block.0", "block.1", ..., the output tokens [patches, width] of a block.
/// Gradients cannot be differentiated again.
class DitBackbone final : public NetworkOf<Backbone> {
 public:
  using Options = DitOptions;

  /// Throws ConfigError, before any tensor is made, when `options` contradict each other or `spec`.
  DitBackbone(const DitOptions& options, const Spec& spec);

  ParameterRole role(std::string_view parameter) const override;

  /// Throws Error when x, t or the condition do not fit the network.
  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override;

  std::vector<TapInfo> taps() const override;
  BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                   const std::vector<std::string>& names) override;

 private:
  Tensor make(const DitTensor& tensor);
  Tensor find(const std::string& name) const { return tensors_.at(name); }
  void check(const Tensor& x, const Tensor& t, const Condition& condition) const;
  Tensor tokens_of(const Tensor& x) const;
  Tensor embed(const Tensor& t, const Condition& condition);
  Tensor image_of(const Tensor& tokens, const Tensor& condition) const;

  /// @param seen  called with the output of each block
  Tensor evaluate(const Tensor& x, const Tensor& t, const Condition& condition,
                  const std::function<void(std::int64_t, const Tensor&)>& seen);

  DitOptions options_;
  Spec spec_;
  std::map<std::string, Tensor> tensors_;  ///< all, by name
  Tensor frequencies_;                     ///< of the time embedding, on the device of the last t
  std::vector<Block> blocks_;
};

}  // namespace casdm::dit
