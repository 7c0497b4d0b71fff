#include "diffusers_layout.h"

#include <ATen/ATen.h>

#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "diffusers_config.h"

namespace casdm::unet {

namespace {

using Kind = AdmBlock::Kind;

/// A parameter's name here and there.
struct NamePair {
  std::string adm;
  std::string peer;
};

void add_layer(std::vector<NamePair>& to, const std::string& adm, const std::string& peer) {
  to.push_back({adm + ".weight", peer + ".weight"});
  to.push_back({adm + ".bias", peer + ".bias"});
}

/// All parameters except attention's q, k and v.
std::vector<NamePair> names_of(const AdmLayout& layout) {
  std::vector<NamePair> pairs;
  add_layer(pairs, "time_embed.0", "time_embedding.linear_1");
  add_layer(pairs, "time_embed.2", "time_embedding.linear_2");
  if (layout.num_classes > 0) pairs.push_back({"label_emb.weight", "class_embedding.weight"});
  for (const AdmBlock& block : blocks_of(layout)) {
    const std::string adm = block.name + ".", peer = block.peer + ".";
    if (block.kind == Kind::convolution) add_layer(pairs, block.name, block.peer);
    if (block.kind == Kind::resampling) {
      add_layer(pairs, adm + (block.resample == Resample::down ? "op" : "conv"), peer + "conv");
    }
    if (block.kind == Kind::attention) {
      add_layer(pairs, adm + "norm", peer + "group_norm");
      add_layer(pairs, adm + "proj_out", peer + "to_out.0");
    }
    if (block.kind == Kind::residual) {
      add_layer(pairs, adm + "in_layers.0", peer + "norm1");
      add_layer(pairs, adm + "in_layers.2", peer + "conv1");
      add_layer(pairs, adm + "emb_layers.1", peer + "time_emb_proj");
      add_layer(pairs, adm + "out_layers.0", peer + "norm2");
      add_layer(pairs, adm + "out_layers.3", peer + "conv2");
      if (block.in != block.out) add_layer(pairs, adm + "skip_connection", peer + "conv_shortcut");
    }
  }
  add_layer(pairs, "out.0", "conv_norm_out");
  add_layer(pairs, "out.2", "conv_out");
  return pairs;
}

constexpr const char* kParts[] = {"to_q", "to_k", "to_v"};

/// The rows of `qkv` [3C, ...] as q, k, v [C, ...]: heads outermost ("legacy") or q, k, v outermost ("new").
std::vector<Tensor> split(const Tensor& qkv, std::int64_t heads, bool is_legacy) {
  const std::int64_t channels = qkv.size(0) / 3;
  const Tensor rows =
      is_legacy ? qkv.reshape({heads, 3, channels / heads, -1}).transpose(0, 1) : qkv.reshape({3, channels, -1});
  return rows.reshape({3, channels, -1}).unbind(0);
}

/// The rows [3C, N] of three [C, N].
Tensor joined(const std::vector<Tensor>& parts, std::int64_t heads, bool is_legacy) {
  const Tensor rows = at::stack(parts);
  const std::int64_t channels = rows.size(1);
  if (!is_legacy) return rows.reshape({3 * channels, -1});
  return rows.view({3, heads, channels / heads, -1}).transpose(0, 1).reshape({3 * channels, -1});
}

std::map<std::string, Tensor> by_name(const NamedTensors& tensors) { return {tensors.begin(), tensors.end()}; }

/// Channels of the attention inputs, first in the encoder and middle, then in the decoder.
std::vector<std::pair<std::int64_t, bool>> attention_widths(const AdmLayout& layout) {
  std::vector<std::pair<std::int64_t, bool>> result;
  for (const AdmBlock& block : blocks_of(layout)) {
    if (block.kind == Kind::attention) result.emplace_back(block.out, block.name.starts_with("output_blocks"));
  }
  return result;
}

/// Channels per head, if the same everywhere; -1: a single head everywhere, whatever its channels; 0: neither.
std::int64_t head_channels(const AdmLayout& layout, const UNetOptions& options) {
  std::int64_t result = 0;
  bool is_same = true, is_single = options.num_head_channels == -1;
  for (const auto& [width, is_decoder] : attention_widths(layout)) {
    const std::int64_t heads = attention_heads(options, width, is_decoder);
    is_single = is_single && heads == 1;
    if (heads < 1 || width % heads != 0) return 0;
    is_same = is_same && (result == 0 || result == width / heads);
    result = width / heads;
  }
  return is_single ? -1 : is_same ? result : 0;
}

/// Throws ConfigError with every reason why UNet2DModel cannot represent this network.
void check_expressible(const AdmLayout& layout, std::int64_t per_head, const UNetOptions& options) {
  std::vector<std::string> reasons;
  if (layout.widths.front() != layout.channels) {
    reasons.push_back(text("the first width, ", layout.widths.front(), ", is not `channels` = ", layout.channels,
                           ": UNet2DModel embeds the time in as many channels as its first block has"));
  }
  if (!layout.resblock_updown && !layout.conv_resample && layout.widths.size() > 1) {
    reasons.emplace_back("conv_resample is false: UNet2DModel resamples by convolutions or residual blocks");
  }
  if (per_head == 0) {
    reasons.emplace_back(
        "attention's heads have different widths: UNet2DModel has one attention_head_dim; num_head_channels gives "
        "that");
  }
  if (options.timestep_scale != 1) reasons.emplace_back("timestep_scale is not 1: UNet2DModel embeds t itself");
  if (layout.augment_size > 0) {
    reasons.emplace_back("it takes augmentation labels: UNet2DModel has no input for them");
  }
  if (reasons.empty()) return;
  throw ConfigError("diffusers' UNet2DModel cannot express this network:\n  " + join(reasons, "\n  "));
}

/// `tensor` in the shape that `parameter` has here; Error if the number of elements differs.
Tensor shaped(const Tensor& tensor, const NamedShape& parameter) {
  if (tensor.numel() != c10::multiply_integers(parameter.shape) || tensor.size(0) != parameter.shape.front()) {
    throw Error(
        text(parameter.name, " would have shape ", tensor.sizes(), ", expected ", at::IntArrayRef(parameter.shape)));
  }
  return tensor.reshape(parameter.shape);
}

}  // namespace

DiffusersModel to_diffusers(const AdmLayout& layout, const NamedTensors& state, const UNetOptions& options,
                            std::int64_t image_size) {
  const std::int64_t per_head = head_channels(layout, options);
  check_expressible(layout, per_head, options);
  const bool is_legacy = options.attention_order == AttentionOrder::legacy;
  DiffusersModel model{diffusers_config(layout, per_head, options.groups, image_size), {}};
  const std::map<std::string, Tensor> given = by_name(state);
  for (const NamePair& pair : names_of(layout)) {
    Tensor tensor = given.at(pair.adm);
    if (pair.peer.ends_with("to_out.0.weight")) tensor = tensor.squeeze(-1);
    model.tensors.emplace_back(pair.peer, tensor);
  }
  for (const AdmBlock& block : blocks_of(layout)) {
    if (block.kind != Kind::attention) continue;
    const std::int64_t heads = per_head == -1 ? 1 : block.out / per_head;
    const std::vector<Tensor> weights = split(given.at(block.name + ".qkv.weight"), heads, is_legacy);
    const std::vector<Tensor> biases = split(given.at(block.name + ".qkv.bias"), heads, is_legacy);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      model.tensors.emplace_back(text(block.peer, ".", kParts[i], ".weight"), weights[i]);
      model.tensors.emplace_back(text(block.peer, ".", kParts[i], ".bias"), biases[i].flatten());
    }
  }
  return model;
}

AdmModel from_diffusers(const Value& source, const NamedTensors& tensors, AttentionOrder attention_order) {
  const DiffusersConfig config = read_diffusers_config(source);
  AdmModel model{config.layout, {}, config.options, config.image_size};
  model.options.set("attention_order", std::string(to_string(attention_order)));
  std::map<std::string, Tensor> given = by_name(tensors);
  const auto take = [&](const std::string& name) {
    const auto found = given.find(name);
    if (found == given.end()) throw Error("has no tensor " + name);
    Tensor tensor = found->second;
    given.erase(found);
    return tensor;
  };
  std::map<std::string, Tensor> made;
  for (const NamePair& pair : names_of(model.layout)) made[pair.adm] = take(pair.peer);
  const std::int64_t per_head = model.options.find("num_head_channels")->as_integer();
  for (const AdmBlock& block : blocks_of(model.layout)) {
    if (block.kind != Kind::attention) continue;
    if (per_head == 0 || per_head < -1 || (per_head > 0 && block.out % per_head != 0)) {
      throw Error(text("has attention_head_dim ", per_head, " at ", block.out, " channels"));
    }
    const std::int64_t heads = per_head == -1 ? 1 : block.out / per_head;
    for (const char* part : {".weight", ".bias"}) {
      std::vector<Tensor> parts;
      for (const char* name : kParts) {
        parts.push_back(take(text(block.peer, ".", name, part)));
        if (parts.back().dim() < 1 || parts.back().size(0) != block.out ||
            parts.back().sizes() != parts.front().sizes()) {
          throw Error(text(block.peer, ".", name, part, " has shape ", parts.back().sizes()));
        }
      }
      made[block.name + ".qkv" + part] = joined(parts, heads, attention_order == AttentionOrder::legacy);
    }
  }
  if (!given.empty()) throw Error("has a tensor too many: " + quoted(given.begin()->first));
  for (const NamedShape& parameter : parameters_of(model.layout)) {
    model.tensors.emplace_back(parameter.name, shaped(made.at(parameter.name), parameter));
  }
  return model;
}

}  // namespace casdm::unet
