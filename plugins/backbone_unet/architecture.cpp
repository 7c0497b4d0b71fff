#include "architecture.h"

#include <utility>

namespace casdm::unet {
namespace {

/// The layout of the network that `options` describe.
AdmLayout layout_of(const UNetOptions& options, const Backbone::Spec& spec, const std::vector<Level>& levels) {
  AdmLayout layout;
  layout.channels = options.channels;
  layout.in_channels = spec.image.channels;
  layout.out_channels = spec.out_channels;
  layout.num_classes = spec.condition.num_classes;
  layout.augment_size = spec.condition.augment_size;
  layout.num_res_blocks = options.num_res_blocks;
  for (const Level& level : levels) {
    layout.widths.push_back(level.channels);
    layout.has_attention.push_back(level.has_attention);
  }
  layout.use_scale_shift_norm = options.use_scale_shift_norm;
  layout.resblock_updown = options.resblock_updown;
  layout.conv_resample = options.conv_resample;
  return layout;
}

std::shared_ptr<const Block> make_block(ParameterMaker& make, const UNetOptions& options, const AdmBlock& block) {
  switch (block.kind) {
    case AdmBlock::Kind::convolution:
      return std::make_shared<ConvBlock>(make, block.name, block.in, block.out);
    case AdmBlock::Kind::attention: {
      const bool is_in_decoder = block.name.starts_with("output_blocks");
      return std::make_shared<AttentionBlock>(make, block.name, block.out,
                                              attention_heads(options, block.out, is_in_decoder), options.groups,
                                              options.attention_order);
    }
    case AdmBlock::Kind::resampling:
      return std::make_shared<ResampleBlock>(make, block.name, block.out, block.resample, block.has_weights,
                                             options.convolution);
    case AdmBlock::Kind::residual:
      break;
  }
  return std::make_shared<ResBlock>(make, block.name,
                                    ResBlockOptions{.in = block.in,
                                                    .out = block.out,
                                                    .embedding = 4 * options.channels,
                                                    .groups = options.groups,
                                                    .dropout = options.dropout,
                                                    .use_scale_shift_norm = options.use_scale_shift_norm,
                                                    .resample = block.resample,
                                                    .convolution = options.convolution});
}

Node make_node(ParameterMaker& make, const UNetOptions& options, const AdmBlock& block) {
  const std::size_t before = make.made().size();
  Node node{make_block(make, options, block), {}};
  const Linear* outside = node.block->embedding_layer();
  for (std::size_t i = before; i < make.made().size(); ++i) {
    const Tensor& parameter = make.made()[i].second;
    const bool is_outside = outside && (parameter.is_same(outside->weight) || parameter.is_same(outside->bias));
    if (!is_outside) node.parameters.push_back(parameter);
  }
  return node;
}

Stages make_stages(ParameterMaker& make, const UNetOptions& options, const AdmLayout& layout) {
  Stages stages;
  for (const AdmStage& planned : stages_of(layout)) {
    Stage stage;
    for (const AdmBlock& block : planned.blocks) stage.push_back(make_node(make, options, block));
    if (planned.name == "middle_block") {
      stages.middle_block = std::move(stage);
      stages.middle_channels = planned.blocks.back().out;
    } else {
      const bool is_input = planned.name.starts_with("input_blocks");
      (is_input ? stages.input_blocks : stages.output_blocks).push_back(std::move(stage));
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
      stages(make_stages(make, options, layout_of(options, spec, levels))),
      out_0(make, "out.0", levels.front().channels, options.groups),
      out_2(make, "out.2", levels.front().channels, spec.out_channels, 3, Start::zero) {}

}  // namespace casdm::unet
