#include "architecture.h"

#include <utility>

namespace casdm::unet {
namespace {

/// Adds blocks to one stage, naming them `<stage>.0`, `<stage>.1`, ...
class StageBuilder {
 public:
  StageBuilder(ParameterMaker& make, const UNetOptions& options, std::string name)
      : make_(make), options_(options), name_(std::move(name)) {}

  StageBuilder& conv(std::int64_t in, std::int64_t out) { return add<ConvBlock>(in, out); }

  StageBuilder& residual(std::int64_t in, std::int64_t out, Resample resample = Resample::none) {
    return add<ResBlock>(ResBlockOptions{.in = in,
                                         .out = out,
                                         .embedding = 4 * options_.channels,
                                         .groups = options_.groups,
                                         .dropout = options_.dropout,
                                         .use_scale_shift_norm = options_.use_scale_shift_norm,
                                         .resample = resample});
  }

  StageBuilder& attention(std::int64_t channels, bool upsampling) {
    return add<AttentionBlock>(channels, attention_heads(options_, channels, upsampling), options_.groups,
                               options_.attention_order == "new" ? AttentionOrder::new_ : AttentionOrder::legacy);
  }

  StageBuilder& resample(std::int64_t channels, Resample resample) {
    if (options_.resblock_updown) return residual(channels, channels, resample);
    return add<ResampleBlock>(channels, resample, options_.conv_resample);
  }

  Stage finish() { return std::move(stage_); }

 private:
  template <class T, class... Arguments>
  StageBuilder& add(Arguments&&... arguments) {
    const std::size_t before = make_.made().size();
    Node node;
    node.block =
        std::make_shared<T>(make_, name_ + "." + std::to_string(stage_.size()), std::forward<Arguments>(arguments)...);
    for (std::size_t i = before; i < make_.made().size(); ++i) node.parameters.push_back(make_.made()[i].second);
    stage_.push_back(std::move(node));
    return *this;
  }

  ParameterMaker& make_;
  const UNetOptions& options_;
  std::string name_;
  Stage stage_;
};

/// The encoder's stages; the channels of each one's output go to `outputs`.
std::vector<Stage> make_encoder(ParameterMaker& make, const UNetOptions& options, std::int64_t in_channels,
                                const std::vector<Level>& levels, std::vector<std::int64_t>& outputs) {
  std::vector<Stage> stages;
  const auto stage = [&] { return StageBuilder(make, options, "input_blocks." + std::to_string(stages.size())); };
  const auto keep = [&](StageBuilder& builder, std::int64_t channels) {
    stages.push_back(builder.finish());
    outputs.push_back(channels);
  };
  std::int64_t channels = levels.front().channels;
  keep(stage().conv(in_channels, channels), channels);
  for (const Level& level : levels) {
    for (std::int64_t i = 0; i < options.num_res_blocks; ++i) {
      StageBuilder builder = stage();
      builder.residual(channels, level.channels);
      channels = level.channels;
      if (level.has_attention) builder.attention(channels, /*upsampling=*/false);
      keep(builder, channels);
    }
    if (&level != &levels.back()) keep(stage().resample(channels, Resample::down), channels);
  }
  return stages;
}

Stage make_middle(ParameterMaker& make, const UNetOptions& options, std::int64_t channels) {
  StageBuilder builder(make, options, "middle_block");
  return builder.residual(channels, channels)
      .attention(channels, /*upsampling=*/false)
      .residual(channels, channels)
      .finish();
}

/// The decoder's stages, each fed the last stage's output and, beside it, the encoder's from the end.
std::vector<Stage> make_decoder(ParameterMaker& make, const UNetOptions& options, const std::vector<Level>& levels,
                                std::vector<std::int64_t> skips) {
  std::vector<Stage> stages;
  std::int64_t channels = levels.back().channels;
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    for (std::int64_t i = 0; i <= options.num_res_blocks; ++i) {
      StageBuilder builder(make, options, "output_blocks." + std::to_string(stages.size()));
      builder.residual(channels + skips.back(), level->channels);
      skips.pop_back();
      channels = level->channels;
      if (level->has_attention) builder.attention(channels, /*upsampling=*/true);
      const bool is_last = std::next(level) == levels.rend();
      if (i == options.num_res_blocks && !is_last) builder.resample(channels, Resample::up);
      stages.push_back(builder.finish());
    }
  }
  return stages;
}

}  // namespace

Architecture::Architecture(ParameterMaker& make, const UNetOptions& options, const Backbone::Spec& spec,
                           const std::vector<Level>& levels)
    : time_embed_0(make, "time_embed.0", options.channels, 4 * options.channels),
      time_embed_2(make, "time_embed.2", 4 * options.channels, 4 * options.channels),
      label_emb(spec.condition.num_classes > 0
                    ? make.normal("label_emb.weight", {spec.condition.num_classes, 4 * options.channels})
                    : Tensor()),
      augment_emb(spec.condition.augment_size > 0
                      ? make.constant("augment_emb.weight", {4 * options.channels, spec.condition.augment_size}, 0.0)
                      : Tensor()),
      input_blocks(make_encoder(make, options, spec.image.channels, levels, skip_channels)),
      middle_block(make_middle(make, options, levels.back().channels)),
      output_blocks(make_decoder(make, options, levels, skip_channels)),
      out_0(make, "out.0", levels.front().channels, options.groups),
      out_2(make, "out.2", levels.front().channels, spec.out_channels, 3, Start::zero) {}

}  // namespace casdm::unet
