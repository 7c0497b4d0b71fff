#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/options.h"
#include "convolution/memory_format.h"
#include "magnitude.h"

namespace casdm::unet {

/// Options of the U-Net of Karras et al. 2024 ("EDM2"). The defaults are a network for images of 32 px.
struct Edm2Options {
  std::int64_t channels = 64;
  std::vector<double> channel_mult = {1, 2, 2};
  std::int64_t num_res_blocks = 2;
  std::vector<std::int64_t> attention_resolutions = {8};
  std::int64_t num_head_channels = 32;
  double dropout = 0.0;
  double res_balance = 0.3;
  double attn_balance = 0.3;
  double concat_balance = 0.5;
  double label_balance = 0.5;
  convolution::MemoryFormat memory_format = convolution::MemoryFormat::auto_;

  static void describe(Schema<Edm2Options>& s);
};

/// A residual block that preserves magnitudes. In the encoder its input is normalised per pixel, in the decoder it is
/// not (Karras et al. 2024, figure 21).
class Edm2Block {
 public:
  enum class Kind { encoder, decoder };
  struct Shape {
    Kind kind = Kind::encoder;
    std::int64_t in = 0, out = 0, embedding = 0;
    std::int64_t heads = 0;  ///< 0: no attention
    int resample = 0;        ///< -1: halves the image, 1: doubles it
  };

  Edm2Block(ParameterMaker& make, const std::string& name, const Shape& shape, const Edm2Options& options);
  /// @param embedding  [B, embedding], of magnitude 1
  Tensor operator()(const Tensor& input, const Tensor& embedding, const Dropout& dropout) const;

 private:
  Tensor attention(const Tensor& x) const;

  Shape shape_;
  double dropout_, res_balance_, attn_balance_;
  std::uint64_t dropout_layer_;  ///< derived from the name, so that no block's mask depends on which other blocks exist
  Tensor emb_gain_;              ///< []
  MagnitudeLayer conv_res0_, emb_linear_, conv_res1_, conv_skip_, attn_qkv_, attn_proj_;
};

/// The magnitude-preserving U-Net (Karras et al. 2024): it has neither biases nor norms with weights; every layer's
/// weight is normalised where it is used, and every operation preserves the variance of its input, so activations have
/// magnitude 1 initially, and whatever the length of the weights. An evaluation in training mode first resets the
/// weights that are trained to magnitude 1, which does not change what the network computes. The output's gain starts
/// at 0.
///
/// Height and width may differ from the Spec's, as long as they can be halved as often as the network does. The format
/// of the images inside is an option, that of the output is that of x. Tap "middle": the features at the lowest
/// resolution. Gradients cannot be differentiated again.
class Edm2Backbone final : public NetworkOf<Backbone> {
 public:
  using Options = Edm2Options;

  /// Throws ConfigError, before any tensor is made, when `options` contradict each other or `spec`.
  Edm2Backbone(const Edm2Options& options, const Spec& spec);

  NamedTensors parameters() const override { return parameters_; }
  ParameterRole role(std::string_view parameter) const override;
  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override;
  std::vector<TapInfo> taps() const override;
  BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                   const std::vector<std::string>& names) override;

 private:
  Tensor embed(const Tensor& t, const Condition& condition) const;
  /// The prediction, and the features of the middle.
  std::pair<Tensor, Tensor> evaluate(const Tensor& x, const Tensor& t, const Condition& condition) const;

  Edm2Options options_;
  Spec spec_;
  std::int64_t factor_;  ///< height and width must be multiples of it
  std::int64_t middle_channels_ = 0;
  Tensor frequencies_, phases_;  ///< buffers
  MagnitudeLayer emb_noise_, in_conv_, out_conv_;
  Tensor emb_label_, emb_augment_, out_gain_;
  std::vector<Edm2Block> encoder_, decoder_;  ///< the first two blocks of the decoder are the middle
  std::vector<bool> takes_skip_;              ///< for each block of the decoder
  std::vector<Tensor> normalised_;            ///< the weights whose length does not matter
  NamedTensors parameters_;
};

}  // namespace casdm::unet
