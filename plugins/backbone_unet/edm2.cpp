#include "edm2.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "input_check.h"

namespace casdm::unet {

namespace {

constexpr double kLargestActivation = 256;  // keeps half precision finite
constexpr double kTimeScale = 1e-3;         // EDM's path gives networks 250 ln(sigma), EDM2 ln(sigma) / 4

Tensor resampled(const Tensor& x, int resample) {
  if (resample < 0) return at::avg_pool2d(x, {2, 2});
  return resample > 0 ? at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}) : x;
}

std::vector<std::int64_t> widths_of(const Edm2Options& o) {
  std::vector<std::int64_t> widths;
  for (std::size_t i = 0; i < o.channel_mult.size(); ++i) {
    const double width = static_cast<double>(o.channels) * o.channel_mult[i];
    if (!(width >= 1) || width > 1e6 || width != std::floor(width)) {
      throw ConfigError(text("channels = ", o.channels, " times channel_mult[", i, "] = ", number(o.channel_mult[i]),
                             " is ", number(width), ": expected a whole number of at least 1"));
    }
    widths.push_back(static_cast<std::int64_t>(width));
  }
  return widths;
}

void check_options(const Edm2Options& o, const Backbone::Spec& spec) {
  if (o.channel_mult.empty()) throw ConfigError("channel_mult is empty: give one factor per resolution, as [1, 2, 2]");
  const std::vector<std::int64_t> widths = widths_of(o);
  const std::size_t halvings = widths.size() - 1;
  const std::int64_t factor = halvings < 32 ? std::int64_t{1} << halvings : 0;
  if (factor == 0 || spec.image.height % factor != 0 || spec.image.width % factor != 0) {
    throw ConfigError(text("images of ", spec.image.height, " x ", spec.image.width, " pixels cannot be halved ",
                           halvings, " times, as the ", widths.size(),
                           " entries of channel_mult ask: choose another size, or fewer entries"));
  }
  std::vector<std::string> sizes;
  for (std::size_t i = 0; i < widths.size(); ++i) sizes.push_back(std::to_string(spec.image.height >> i));
  for (const std::int64_t size : o.attention_resolutions) {
    if (std::find(sizes.begin(), sizes.end(), std::to_string(size)) == sizes.end()) {
      throw ConfigError(text("attention_resolutions holds ", size, ", but the feature maps have ", join(sizes, ", "),
                             " pixels: choose among these, or leave it out"));
    }
  }
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::int64_t size = spec.image.height >> i;
    const bool attends =
        i + 1 == widths.size() || std::find(o.attention_resolutions.begin(), o.attention_resolutions.end(), size) !=
                                      o.attention_resolutions.end();
    if (attends && widths[i] % o.num_head_channels != 0) {
      throw ConfigError(text("num_head_channels = ", o.num_head_channels, " does not divide the ", widths[i],
                             " channels of the attention at ", size, " pixels: choose a divisor"));
    }
  }
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
  if (is_encoder) x = pixel_normalised(conv_skip_(x));
  const Tensor scale = emb_linear_(embedding, emb_gain_) + 1;
  Tensor y = magnitude_silu(conv_res0_(magnitude_silu(x)) * scale.unsqueeze(-1).unsqueeze(-1));
  y = conv_res1_(dropout.apply(y, dropout_, dropout_layer_));
  x = magnitude_sum(is_encoder ? x : conv_skip_(x), y, res_balance_);
  if (shape_.heads > 0) x = magnitude_sum(x, attention(x), attn_balance_);
  return x.clamp(-kLargestActivation, kLargestActivation);
}

Tensor Edm2Block::attention(const Tensor& x) const {
  const std::int64_t batch = x.size(0), width = x.size(1) / shape_.heads;
  // [B, heads, d, 3, positions], q, k and v of length sqrt(d) each.
  Tensor qkv = attn_qkv_(x).flatten(2).reshape({batch, shape_.heads, width, 3, -1});
  qkv = qkv / (qkv.norm(2, {2}, /*keepdim=*/true) / std::sqrt(static_cast<double>(width)) + 1e-4);
  const std::vector<Tensor> parts = qkv.permute({3, 0, 1, 4, 2}).unbind(0);
  const Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
  return attn_proj_(mixed.transpose(2, 3).reshape(x.sizes()));
}

Edm2Backbone::Edm2Backbone(const Edm2Options& options, const Spec& spec) : options_(options), spec_(spec) {
  check_options(options, spec);
  const std::vector<std::int64_t> widths = widths_of(options);
  factor_ = std::int64_t{1} << (widths.size() - 1);
  const std::int64_t embedding = *std::max_element(widths.begin(), widths.end());
  frequencies_ = add_buffer("emb_fourier.freqs",
                            seeded_normal(spec.seed, "emb_fourier.freqs", {widths.front()}, 2 * std::numbers::pi));
  phases_ = add_buffer("emb_fourier.phases",
                       seeded_uniform(spec.seed, "emb_fourier.phases", {widths.front()}, std::numbers::pi));
  ParameterMaker make(spec.seed);
  emb_noise_ = MagnitudeLayer(make, "emb_noise", {embedding, widths.front()});
  if (spec.condition.num_classes > 0) {
    emb_label_ = make.normal("emb_label.weight", {embedding, spec.condition.num_classes});
  }
  if (spec.condition.augment_size > 0) {
    emb_augment_ = make.constant("emb_augment.weight", {embedding, spec.condition.augment_size}, 0);
  }
  const auto heads_at = [&](std::size_t level) {
    const auto& at = options.attention_resolutions;
    const bool attends = std::find(at.begin(), at.end(), spec.image.height >> level) != at.end();
    return attends ? widths[level] / options.num_head_channels : 0;
  };
  const auto name = [&](const char* side, std::size_t level, const std::string& what) {
    return text(side, ".", spec.image.height >> level, "x", spec.image.width >> level, "_", what);
  };
  using Kind = Edm2Block::Kind;
  // One channel more, of ones: it takes the place of biases.
  in_conv_ = MagnitudeLayer(make, name("enc", 0, "conv"), {widths.front(), spec.image.channels + 1, 3, 3});
  std::int64_t width = widths.front();
  std::vector<std::int64_t> skips = {width};
  for (std::size_t level = 0; level < widths.size(); ++level) {
    if (level > 0) {
      encoder_.emplace_back(make, name("enc", level, "down"),
                            Edm2Block::Shape{Kind::encoder, width, width, embedding, 0, -1}, options);
      skips.push_back(width);
    }
    for (std::int64_t i = 0; i < options.num_res_blocks; ++i) {
      encoder_.emplace_back(make, name("enc", level, text("block", i)),
                            Edm2Block::Shape{Kind::encoder, width, widths[level], embedding, heads_at(level), 0},
                            options);
      width = widths[level];
      skips.push_back(width);
    }
  }
  middle_channels_ = width;
  const std::size_t last = widths.size() - 1;
  const std::int64_t middle_heads = width / options.num_head_channels;
  middle_.emplace_back(make, name("dec", last, "in0"),
                       Edm2Block::Shape{Kind::decoder, width, width, embedding, middle_heads, 0}, options);
  middle_.emplace_back(make, name("dec", last, "in1"), Edm2Block::Shape{Kind::decoder, width, width, embedding, 0, 0},
                       options);
  for (std::size_t level = widths.size(); level-- > 0;) {
    if (level < last) {
      decoder_.emplace_back(make, name("dec", level, "up"),
                            Edm2Block::Shape{Kind::decoder, width, width, embedding, 0, 1}, options);
      takes_skip_.push_back(false);
    }
    for (std::int64_t i = 0; i <= options.num_res_blocks; ++i) {
      decoder_.emplace_back(
          make, name("dec", level, text("block", i)),
          Edm2Block::Shape{Kind::decoder, width + skips.back(), widths[level], embedding, heads_at(level), 0}, options);
      skips.pop_back();
      width = widths[level];
      takes_skip_.push_back(true);
    }
  }
  out_conv_ = MagnitudeLayer(make, "out_conv", {spec.out_channels, width, 3, 3});
  out_gain_ = make.constant("out_gain", {}, 0);
  parameters_ = make.made();
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
  const Tensor embedding = embed(t, condition);
  const Dropout dropout = is_training() ? condition.dropout : Dropout();
  Tensor h = in_conv_(at::cat({x, at::ones_like(x.narrow(1, 0, 1))}, 1));
  std::vector<Tensor> skips = {h};
  for (const Edm2Block& block : encoder_) skips.push_back(h = block(h, embedding, dropout));
  for (const Edm2Block& block : middle_) h = block(h, embedding, dropout);
  const Tensor middle = h;
  for (std::size_t i = 0; i < decoder_.size(); ++i) {
    if (takes_skip_[i]) {
      h = magnitude_cat(h, skips.back(), options_.concat_balance);
      skips.pop_back();
    }
    h = decoder_[i](h, embedding, dropout);
  }
  return {out_conv_(h, out_gain_), middle};
}

}  // namespace casdm::unet
