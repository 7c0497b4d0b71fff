#pragma once

#include <string>
#include <utility>
#include <vector>

#include "architecture.h"
#include "casdm/backbone.h"
#include "options.h"
#include "weight_casts.h"

namespace casdm::unet {

/// The U-Net of Dhariwal & Nichol 2021 with all its options; state names are theirs (`time_embed.0.weight`,
/// `input_blocks.1.0.in_layers.0.weight`, ...). In addition there is `augment_emb.weight` if the Spec has an
/// augment_size: a linear map of Condition::augment without bias, initially zero, added to the embedding of the time
/// (as in Karras et al. 2022, appendix F.2).
///
/// Height and width may differ from the Spec's image size, as long as they can be halved as often as the network does.
/// The format of the images inside is an option, that of the output is that of x. Gradients cannot be differentiated
/// again.
class UNetBackbone : public Backbone {
 public:
  using Options = UNetOptions;

  /// Throws ConfigError, before any tensor is made, when `options` contradict each other or `spec`.
  UNetBackbone(const UNetOptions& options, const Spec& spec);

  NamedTensors parameters() const override { return parameters_; }
  ParameterRole role(std::string_view parameter) const override;
  void train(bool on) override { is_training_ = on; }
  WeightShadow begin_shadow(const Tensor& weights) override { return casts_.begin_shadow(weights); }
  void end_shadow() override { casts_.end_shadow(); }

  /// Throws Error when x, t or the condition do not fit the network.
  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override;

  /// "middle": the features at the lowest resolution.
  std::vector<TapInfo> taps() const override;
  BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                   const std::vector<std::string>& names) override;

 private:
  /// The prediction and the features of the middle block.
  std::pair<Tensor, Tensor> evaluate(const Tensor& x, const Tensor& t, const Condition& condition);

  UNetBackbone(const UNetOptions& options, const Spec& spec, std::vector<Level> levels, ParameterMaker make);

  /// The inputs of all blocks besides the image, in the order of evaluation.
  class Inputs {
   public:
    Inputs(const Stages& stages, const Tensor& embedding, Dropout dropout);
    BlockInput next(const Block& block);

   private:
    std::vector<Tensor> embeddings_;
    std::size_t used_ = 0;
    Dropout dropout_;
  };

  Tensor embed(const Tensor& t, const Condition& condition);
  Tensor run(const Stage& stage, Tensor x, Inputs& inputs) const;

  UNetOptions options_;
  Spec spec_;
  std::int64_t factor_;  ///< height and width must be multiples of it
  Architecture net_;
  NamedTensors parameters_;
  WeightCasts casts_;
  bool is_training_ = true;
  Tensor frequencies_;  ///< of the time embedding, on the device of the last t
};

}  // namespace casdm::unet
