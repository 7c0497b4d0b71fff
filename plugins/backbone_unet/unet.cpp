#include "unet.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <cmath>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "checkpoint.h"
#include "convolution/memory_format.h"
#include "input_check.h"

namespace casdm::unet {
namespace {

using convolution::in_format;

/// 10000^(-i / half) for i in 0..half-1, in the reference's float32 arithmetic: for t of several hundred, the last bits
/// of a frequency affect the embedding.
Tensor make_frequencies(std::int64_t channels) {
  const std::int64_t half = channels / 2;
  return at::exp(at::arange(half, at::kFloat) * -std::log(10000.0) / static_cast<double>(half));
}

/// Sinusoidal embedding of t [B], float32 [B, channels] (Vaswani et al. 2017, cosines first).
Tensor timestep_embedding(const Tensor& t, const Tensor& frequencies, std::int64_t channels) {
  const Tensor angles = t.unsqueeze(-1) * frequencies;
  const Tensor embedding = at::cat({angles.cos(), angles.sin()}, -1);
  return channels % 2 == 0 ? embedding : at::constant_pad_nd(embedding, {0, 1});
}

/// True on the CPU, and where cuDNN computes in bf16: there it would otherwise convert each image back and forth.
bool is_faster_channels_last(c10::Device device) {
  if (device.is_cpu()) return true;
  return at::autocast::is_autocast_enabled(device.type()) &&
         at::autocast::get_autocast_dtype(device.type()) == at::kBFloat16;
}

/// The weights of convolutions and linear layers, and the biases that follow them.
std::vector<Tensor> weights_of_layers(const NamedTensors& parameters) {
  std::vector<Tensor> result;
  bool is_layer = false;
  for (const auto& [name, parameter] : parameters) {
    is_layer = parameter.dim() > 1 ? name != "label_emb.weight" : is_layer && name.ends_with(".bias");
    if (is_layer) result.push_back(parameter);
  }
  return result;
}

}  // namespace

UNetBackbone::UNetBackbone(const UNetOptions& options, const Spec& spec)
    : UNetBackbone(options, spec, plan_levels(options, spec), ParameterMaker(spec.seed)) {}

UNetBackbone::UNetBackbone(const UNetOptions& options, const Spec& spec, std::vector<Level> levels, ParameterMaker make)
    : options_(options),
      spec_(spec),
      factor_(std::int64_t{1} << (levels.size() - 1)),
      net_(make, options, spec, levels),
      parameters_(make.made()),
      casts_(weights_of_layers(parameters_)),
      frequencies_(make_frequencies(options.channels)) {}

ParameterRole UNetBackbone::role(std::string_view parameter) const {
  if (parameter == "out.2.weight") return ParameterRole::output;
  return parameter == "label_emb.weight" ? ParameterRole::embedding : ParameterRole::automatic;
}

Tensor UNetBackbone::forward(const Tensor& x, const Tensor& t, const Condition& condition) {
  return evaluate(x, t, condition).first;
}

std::vector<TapInfo> UNetBackbone::taps() const {
  return {{"middle", {net_.stages.middle_channels, spec_.image.height / factor_, spec_.image.width / factor_}}};
}

BackboneOutput UNetBackbone::forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                               const std::vector<std::string>& names) {
  require_taps(*this, names);
  const auto [sample, middle] = evaluate(x, t, condition);
  BackboneOutput output{sample, {}};
  for (const std::string& name : names) output.taps.emplace_back(name, middle);
  return output;
}

std::pair<Tensor, Tensor> UNetBackbone::evaluate(const Tensor& x, const Tensor& t, const Condition& condition) {
  check_input(x, t, condition, spec_, factor_);
  const at::MemoryFormat given = x.suggest_memory_format();
  const at::MemoryFormat format =
      chosen(options_.memory_format, is_faster_channels_last(x.device()) ? at::MemoryFormat::ChannelsLast : given);
  const WeightCasts::Use casts(casts_, x.device(), format);
  Inputs inputs(net_.stages, embed(t, condition), is_training_ ? condition.dropout : Dropout());

  Tensor h = as_input(x, format);
  std::vector<Tensor> skips;
  for (const Stage& stage : net_.stages.input_blocks) {
    h = run(stage, h, inputs);
    skips.push_back(h);
  }
  h = run(net_.stages.middle_block, h, inputs);
  const Tensor middle = h;
  for (const Stage& stage : net_.stages.output_blocks) {
    h = run(stage, at::cat({h, skips.back()}, 1), inputs);
    skips.pop_back();
  }
  h = net_.out_2(net_.out_0.silu(h));
  return {in_format(h, given), middle};
}

Tensor UNetBackbone::embed(const Tensor& t, const Condition& condition) {
  if (frequencies_.device() != t.device()) frequencies_ = frequencies_.to(t.device());
  const Tensor scaled = t.to(at::kFloat) * options_.timestep_scale;
  const Tensor sinusoids = timestep_embedding(scaled, frequencies_, options_.channels);
  Tensor embedding =
      net_.time_embed_2(at::silu(net_.time_embed_0(sinusoids.to(net_.time_embed_0.weight.scalar_type()))));
  if (condition.labels.defined()) embedding = embedding + at::embedding(net_.label_emb, condition.labels);
  if (condition.augment.defined() && spec_.condition.augment_size > 0) {
    embedding = embedding + at::linear(condition.augment.to(net_.augment_emb.scalar_type()), cast(net_.augment_emb));
  }
  return at::silu(embedding);
}

/// The layers of all blocks are one matrix product: dozens of small ones would cost more than they compute.
UNetBackbone::Inputs::Inputs(const Stages& stages, const Tensor& embedding, Dropout dropout)
    : dropout_(std::move(dropout)) {
  std::vector<Tensor> weights, biases;
  std::vector<std::int64_t> widths;
  const auto add = [&](const Stage& stage) {
    for (const Node& node : stage) {
      const Linear* layer = node.block->embedding_layer();
      if (layer == nullptr) continue;
      weights.push_back(cast(layer->weight));
      biases.push_back(cast(layer->bias));
      widths.push_back(layer->bias.size(0));
    }
  };
  for (const Stage& stage : stages.input_blocks) add(stage);
  add(stages.middle_block);
  for (const Stage& stage : stages.output_blocks) add(stage);
  const Tensor all = at::linear(embedding, at::cat(weights), at::cat(biases));
  // In the type in which norms add it.
  embeddings_ = all.to(at::promote_types(all.scalar_type(), at::kFloat)).split_with_sizes(widths, 1);
}

BlockInput UNetBackbone::Inputs::next(const Block& block) {
  return {block.embedding_layer() ? embeddings_[used_++] : Tensor(), dropout_};
}

Tensor UNetBackbone::run(const Stage& stage, Tensor x, Inputs& inputs) const {
  for (const Node& node : stage) {
    const std::shared_ptr<const Block>& block = node.block;
    const BlockInput input = inputs.next(*block);
    if (options_.checkpoint && block->is_checkpointable()) {
      const auto evaluate = [block, dropout = input.dropout](const Tensor& image, const Tensor& embedding) {
        return block->forward(image, {embedding, dropout});
      };
      x = checkpoint(evaluate, x, input.embedding, node.parameters);
    } else {
      // The alias sums a block's gradients before they are added to those of other uses of x. This is the order in
      // which gradient checkpointing adds them, so both give the same bits.
      x = block->forward(block->is_checkpointable() ? at::alias(x) : x, input);
    }
  }
  return x;
}

}  // namespace casdm::unet
