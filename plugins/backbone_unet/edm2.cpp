#include "edm2.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "casdm/random.h"
#include "edm2_layout.h"
#include "input_check.h"
#include "layers.h"

namespace casdm::unet {

namespace {

using convolution::in_format;

constexpr double kLargestActivation = 256;                    // keeps half precision finite
constexpr const char* kAugmentWeight = "emb_augment.weight";  // starts at 0, as the reference has none
constexpr std::size_t kMiddleBlocks = 2;                      // the first blocks of the decoder
constexpr double kTimeScale = 1e-3;  // EDM's path gives networks 250 ln(sigma), EDM2 ln(sigma) / 4

Tensor resampled(const Tensor& x, int resample) {
  if (resample < 0) return at::avg_pool2d(x, {2, 2});
  return resample > 0 ? doubled(x) : x;
}

/// q, k and v [B, heads, positions, d], of length sqrt(d) each, from their projection [B, heads d 3, H, W]: views in
/// the order of its memory, so that its gradient has its format.
std::vector<Tensor> attention_inputs(const Tensor& qkv, std::int64_t heads) {
  const std::int64_t batch = qkv.size(0), width = qkv.size(1) / heads / 3;
  if (qkv.suggest_memory_format() == at::MemoryFormat::ChannelsLast) {
    const Tensor pixels = qkv.permute({0, 2, 3, 1}).reshape({batch, -1, heads, width, 3});
    std::vector<Tensor> parts = normalised_over(pixels, 3).unbind(4);
    for (Tensor& part : parts) part = part.transpose(1, 2);
    return parts;
  }
  std::vector<Tensor> parts = normalised_over(qkv.reshape({batch, heads, width, 3, -1}), 2).unbind(3);
  for (Tensor& part : parts) part = part.transpose(2, 3);
  return parts;
}

}  // namespace

void Edm2Options::describe(Schema<Edm2Options>& s) {
  s.option("channels", &Edm2Options::channels, "Width of the network at the image's resolution, before channel_mult.")
      .range(1, 1 << 16);
  OptionSpec& mult = s.option("channel_mult", &Edm2Options::channel_mult,
                              "Width of each resolution as a multiple of `channels`; each entry after the first "
                              "halves the feature maps.");
  mult.element.front().greater_than(0).maximum = 1 << 16;
  s.option("num_res_blocks", &Edm2Options::num_res_blocks,
           "Residual blocks per resolution in the encoder; the decoder has one more.")
      .range(1, 1000);
  OptionSpec& attention =
      s.option("attention_resolutions", &Edm2Options::attention_resolutions,
               "Feature maps of these sizes get attention in each residual block. The middle of the "
               "network always has it.");
  attention.in_unit("pixels").element.front().range(1, 1 << 16);
  s.option("num_head_channels", &Edm2Options::num_head_channels, "Channels per attention head.").range(1, 1 << 16);
  s.option("dropout", &Edm2Options::dropout, "Probability of dropping an activation in a residual block, in training.")
      .range(0, 1)
      .less_than(1);
  s.option("res_balance", &Edm2Options::res_balance, "Share of the residual branch in a block's output.").range(0, 1);
  s.option("attn_balance", &Edm2Options::attn_balance, "Share of the attention in a block's output.").range(0, 1);
  s.option("concat_balance", &Edm2Options::concat_balance, "Share of the skips in the input of the decoder's blocks.")
      .range(0, 1);
  s.option("label_balance", &Edm2Options::label_balance, "Share of the class in the embedding.").range(0, 1);
  s.option(
      "memory_format", &Edm2Options::memory_format,
      "How images inside the network lie in memory: \"contiguous\" channel by channel, \"channels_last\" pixel by "
      "pixel; \"auto\": on the CPU pixel by pixel, on a GPU as they come. The results are the same up to rounding; "
      "docs/cuda.md says what each format costs.");
}

Edm2Block::Edm2Block(ParameterMaker& make, const std::string& name, const Shape& shape, const Edm2Options& options)
    : shape_(shape),
      dropout_(options.dropout),
      res_balance_(options.res_balance),
      attn_balance_(options.attn_balance),
      dropout_layer_(derive_seed(0, name)),
      emb_gain_(make.constant(name + ".emb_gain", {}, 0)) {
  const bool is_encoder = shape.kind == Kind::encoder;
  conv_res0_ = MagnitudeLayer(make, name + ".conv_res0", {shape.out, is_encoder ? shape.out : shape.in, 3, 3});
  emb_linear_ = MagnitudeLayer(make, name + ".emb_linear", {shape.out, shape.embedding});
  conv_res1_ = MagnitudeLayer(make, name + ".conv_res1", {shape.out, shape.out, 3, 3});
  if (shape.in != shape.out) conv_skip_ = MagnitudeLayer(make, name + ".conv_skip", {shape.out, shape.in, 1, 1});
  if (shape.heads == 0) return;
  attn_qkv_ = MagnitudeLayer(make, name + ".attn_qkv", {3 * shape.out, shape.out, 1, 1});
  attn_proj_ = MagnitudeLayer(make, name + ".attn_proj", {shape.out, shape.out, 1, 1});
}

Tensor Edm2Block::operator()(const Tensor& input, const Tensor& embedding, const Dropout& dropout) const {
  const bool is_encoder = shape_.kind == Kind::encoder;
  Tensor x = resampled(input, shape_.resample);
  if (is_encoder) x = normalised_over(conv_skip_(x), 1);
  const Tensor scale = emb_linear_(embedding, emb_gain_) + 1;
  Tensor y = magnitude_silu(conv_res0_(magnitude_silu(x)) * scale.unsqueeze(-1).unsqueeze(-1));
  y = conv_res1_(dropout.apply(y, dropout_, dropout_layer_));
  x = magnitude_sum(is_encoder ? x : conv_skip_(x), y, res_balance_);
  if (shape_.heads > 0) x = magnitude_sum(x, attention(x), attn_balance_);
  return x.clamp(-kLargestActivation, kLargestActivation);
}

Tensor Edm2Block::attention(const Tensor& x) const {
  const std::vector<Tensor> parts = attention_inputs(attn_qkv_(x), shape_.heads);
  const Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
  return attn_proj_(in_format(mixed.transpose(2, 3).reshape(x.sizes()), x.suggest_memory_format()));
}

Edm2Backbone::Edm2Backbone(const Edm2Options& options, const Spec& spec) : options_(options), spec_(spec) {
  const Edm2Layout layout = layout_of(options, spec);
  const std::int64_t embedding = layout.embedding(), first = layout.widths.front();
  factor_ = std::int64_t{1} << (layout.widths.size() - 1);
  frequencies_ =
      add_buffer("emb_fourier.freqs", seeded_normal(spec.seed, "emb_fourier.freqs", {first}, 2 * std::numbers::pi));
  phases_ =
      add_buffer("emb_fourier.phases", seeded_uniform(spec.seed, "emb_fourier.phases", {first}, std::numbers::pi));
  ParameterMaker make(spec.seed);
  emb_noise_ = MagnitudeLayer(make, "emb_noise", {embedding, first});
  if (spec.condition.num_classes > 0) {
    emb_label_ = make.normal("emb_label.weight", {embedding, spec.condition.num_classes});
  }
  if (spec.condition.augment_size > 0) {
    emb_augment_ = make.constant(kAugmentWeight, {embedding, spec.condition.augment_size}, 0);
  }
  // An additional channel of ones takes the place of biases.
  in_conv_ = MagnitudeLayer(make, layout.part("enc", 0, "conv"), {first, spec.image.channels + 1, 3, 3});
  for (const Edm2Part& part : parts_of(layout)) {
    const std::int64_t heads = part.attends ? part.out / options.num_head_channels : 0;
    const Edm2Block::Shape shape{part.kind, part.in, part.out, embedding, heads, part.resample};
    (part.kind == Edm2Block::Kind::encoder ? encoder_ : decoder_).emplace_back(make, part.name, shape, options);
    if (part.kind == Edm2Block::Kind::decoder) takes_skip_.push_back(part.takes_skip);
  }
  middle_channels_ = layout.widths.back();
  out_conv_ = MagnitudeLayer(make, "out_conv", {spec.out_channels, first, 3, 3});
  out_gain_ = make.constant("out_gain", {}, 0);
  parameters_ = make.made();
  for (const auto& [name, parameter] : parameters_) {
    if (parameter.dim() > 0 && name != kAugmentWeight) normalised_.push_back(parameter);
  }
}

ParameterRole Edm2Backbone::role(std::string_view parameter) const {
  if (parameter == "out_conv.weight") return ParameterRole::output;
  return parameter == "emb_label.weight" ? ParameterRole::embedding : ParameterRole::automatic;
}

std::vector<TapInfo> Edm2Backbone::taps() const {
  return {{"middle", {middle_channels_, spec_.image.height / factor_, spec_.image.width / factor_}}};
}

Tensor Edm2Backbone::forward(const Tensor& x, const Tensor& t, const Condition& condition) {
  return evaluate(x, t, condition).first;
}

BackboneOutput Edm2Backbone::forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                               const std::vector<std::string>& names) {
  require_taps(*this, names);
  const auto [sample, middle] = evaluate(x, t, condition);
  BackboneOutput output{sample, {}};
  for (const std::string& name : names) output.taps.emplace_back(name, middle);
  return output;
}

Tensor Edm2Backbone::embed(const Tensor& t, const Condition& condition) const {
  const Tensor time = (t.to(at::kFloat) * kTimeScale).unsqueeze(1);
  const Tensor waves = (time * frequencies_ + phases_).cos() * std::numbers::sqrt2;
  Tensor embedding = emb_noise_(waves.to(emb_noise_.weight.scalar_type()));
  if (condition.labels.defined()) {
    const Tensor of_class = at::embedding(normalised_weight(emb_label_).t(), condition.labels);
    embedding = magnitude_sum(embedding, of_class, options_.label_balance);
  }
  if (condition.augment.defined() && emb_augment_.defined()) {
    embedding = embedding + at::linear(condition.augment.to(emb_augment_.scalar_type()), emb_augment_);
  }
  return magnitude_silu(embedding);
}

std::pair<Tensor, Tensor> Edm2Backbone::evaluate(const Tensor& x, const Tensor& t, const Condition& condition) const {
  check_input(x, t, condition, spec_, factor_);
  for (const Tensor& weight : normalised_) {
    if (is_training() && weight.requires_grad()) reset_rows(weight);
  }
  const Tensor embedding = embed(t, condition);
  const Dropout dropout = is_training() ? condition.dropout : Dropout();
  const at::MemoryFormat given = x.suggest_memory_format();
  const at::MemoryFormat automatic = x.is_cpu() ? at::MemoryFormat::ChannelsLast : given;
  const at::MemoryFormat format = convolution::chosen(options_.memory_format, automatic);
  Tensor h = in_conv_(as_input(at::cat({x, at::ones_like(x.narrow(1, 0, 1))}, 1), format));
  std::vector<Tensor> skips = {h};
  for (const Edm2Block& block : encoder_) skips.push_back(h = block(h, embedding, dropout));
  Tensor middle;
  for (std::size_t i = 0; i < decoder_.size(); ++i) {
    if (takes_skip_[i]) {
      h = magnitude_cat(h, skips.back(), options_.concat_balance);
      skips.pop_back();
    }
    h = decoder_[i](h, embedding, dropout);
    if (i + 1 == kMiddleBlocks) middle = h;
  }
  return {in_format(out_conv_(h, out_gain_), given), middle};
}

}  // namespace casdm::unet
