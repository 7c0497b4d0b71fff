#include "weight_layouts.h"

#include <optional>
#include <set>

#include "adm_layout.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "diffusers_layout.h"
#include "edm2_layout.h"
#include "options.h"

namespace casdm::unet {

namespace {

/// The order of q, k and v, recorded in the file or given by the user. Throws ConfigError if the two differ or neither
/// exists.
AttentionOrder attention_order(const ForeignWeights& weights, const UNetLayoutOptions& options) {
  const auto recorded = read_options<UNetLayoutOptions>(weights.recorded).attention_order;
  if (!recorded && !options.attention_order) {
    throw ConfigError(
        "attention_order is missing: give --set attention_order=legacy or --set attention_order=new. The two orders of "
        "q, k and v have equal shapes, and with the wrong one the network outputs noise. \"new\" is right for models "
        "trained with use_new_attention_order, \"legacy\" for all others");
  }
  if (recorded && options.attention_order && *recorded != *options.attention_order) {
    throw ConfigError(text("the file records attention_order = \"", to_string(*recorded), "\", the option says \"",
                           to_string(*options.attention_order), "\""));
  }
  return options.attention_order ? *options.attention_order : *recorded;
}

/// @param unseen  options that do not affect shapes
BackboneWeights described(const AdmLayout& layout, NamedTensors tensors, const Value& unseen, std::int64_t image_size) {
  BackboneWeights result;
  result.tensors = std::move(tensors);
  result.options = options_of(layout, image_size);
  for (const auto& [name, value] : unseen.as_table()) result.options.set(name, value);
  result.spec.image = ImageShape::square(layout.in_channels, image_size);
  result.spec.out_channels = layout.out_channels;
  result.spec.condition.num_classes = layout.num_classes;
  result.spec.condition.augment_size = layout.augment_size;
  result.summary =
      text("A U-Net of guided-diffusion's names, ", layout.in_channels, " -> ", layout.out_channels, " channels",
           layout.out_channels == 2 * layout.in_channels ? " (a mean and a learned variance)" : "", ", ",
           layout.num_classes > 0 ? text(layout.num_classes, " classes") : "unconditional");
  if (image_size == 0) result.remarks.emplace_back("attention_resolutions: give --image-size");
  if (unseen.find("groups") == nullptr) {
    result.remarks.emplace_back("num_heads or num_head_channels, groups, timestep_scale leave no trace in the weights");
  }
  return result;
}

/// Throws ConfigError if the tensors are not exactly those of a U-Net.
AdmLayout layout_of(const NamedTensors& tensors) {
  std::string why;
  const std::optional<AdmLayout> layout = recognise_adm(tensors, why);
  if (!layout) throw ConfigError(text("not a U-Net with guided-diffusion's names", why.empty() ? "" : ": ", why));
  return *layout;
}

/// `options` with attention heads given as one number if every attention has the same number, however they were given.
Value with_plain_heads(Value options, const NamedTensors& tensors) {
  std::string ignored;
  const std::optional<AdmLayout> layout = recognise_adm(tensors, ignored);
  const Value* width = options.find("num_head_channels");
  const bool is_known = width != nullptr && (options.find("num_heads") != nullptr || width->as_integer() != -1);
  if (!layout || !is_known) return options;
  const auto given = read_options<UNetOptions>(options);
  std::set<std::int64_t> heads;
  for (const AdmBlock& block : blocks_of(*layout)) {
    if (block.kind != AdmBlock::Kind::attention) continue;
    heads.insert(attention_heads(given, block.out, block.name.starts_with("output_blocks")));
  }
  if (heads.size() != 1 || *heads.begin() < 1) return options;
  options.set("num_heads", *heads.begin());
  options.set("num_head_channels", -1);
  options.set("num_heads_upsample", -1);
  return options;
}

Value unseen_of_edm2(const Value& options) {
  return picked(options, {"num_head_channels", "res_balance", "attn_balance", "concat_balance", "label_balance"});
}

}  // namespace

void UNetLayoutOptions::describe(Schema<UNetLayoutOptions>& s) {
  s.option("attention_order", &UNetLayoutOptions::attention_order,
           "The order of the channels of q, k and v in the U-Net's weights, where the file does not record it: \"new\" "
           "for models trained with use_new_attention_order, \"legacy\" for all others.");
}

WeightLayoutInfo AdmWeights::info() const {
  WeightLayoutInfo info;
  info.backbone = "unet";
  info.is_native = true;
  info.sample.set("channels", 16);
  info.sample.set("groups", 8);
  return info;
}

LayoutMatch AdmWeights::recognise(const ForeignWeights& weights) const {
  LayoutMatch match;
  match.confidence = recognise_adm(weights.tensors, match.difference) ? 1 : 0;
  return match;
}

BackboneWeights AdmWeights::read(const ForeignWeights& weights) const {
  const AdmLayout layout = layout_of(weights.tensors);
  Value options = weights.recorded;
  options.set("attention_order", std::string(to_string(attention_order(weights, options_))));
  return described(layout, weights.tensors, unseen_options(options), spec_.image_size);
}

ForeignWeights AdmWeights::write(const BackboneWeights& weights) const {
  return {weights.tensors, Value(), unseen_options(with_plain_heads(weights.options, weights.tensors))};
}

WeightLayoutInfo DiffusersWeights::info() const {
  WeightLayoutInfo info = AdmWeights({}, {}).info();
  info.is_native = false;
  info.weights_file = "diffusion_pytorch_model.safetensors";
  info.config_file = "config.json";
  return info;
}

LayoutMatch DiffusersWeights::recognise(const ForeignWeights& weights) const {
  const Value* type = weights.config.find("_class_name");
  return {type != nullptr && *type == "UNet2DModel" ? 1.0 : 0.0, ""};
}

BackboneWeights DiffusersWeights::read(const ForeignWeights& weights) const {
  // q, k and v are separate weights there, so any order will do; that of the U-Net's default fits most experiments.
  const AttentionOrder order = options_.attention_order.value_or(UNetOptions().attention_order);
  const AdmModel model = from_diffusers(weights.config, weights.tensors, order);
  return described(model.layout, model.tensors, unseen_options(model.options), model.image_size);
}

ForeignWeights DiffusersWeights::write(const BackboneWeights& weights) const {
  DiffusersModel model = to_diffusers(layout_of(weights.tensors), weights.tensors,
                                      read_options<UNetOptions>(weights.options), weights.spec.image.height);
  return {std::move(model.tensors), std::move(model.config), Value(Value::Table{})};
}

WeightLayoutInfo Edm2Weights::info() const {
  WeightLayoutInfo info;
  info.backbone = "edm2_unet";
  info.is_native = true;
  info.sample.set("channels", 16);
  info.sample.set("num_head_channels", 16);
  return info;
}

LayoutMatch Edm2Weights::recognise(const ForeignWeights& weights) const {
  LayoutMatch match;
  match.confidence = recognise_edm2(weights.tensors, match.difference) ? 1 : 0;
  return match;
}

BackboneWeights Edm2Weights::read(const ForeignWeights& weights) const {
  std::string why;
  const std::optional<Edm2Layout> layout = recognise_edm2(weights.tensors, why);
  if (!layout) throw Error(text("no U-Net of EDM2's names", why.empty() ? "" : ": ", why));
  BackboneWeights result;
  result.tensors = weights.tensors;
  result.options = options_of(*layout);
  const Value unseen = unseen_of_edm2(weights.recorded);
  for (const auto& [name, value] : unseen.as_table()) result.options.set(name, value);
  result.spec.image = layout->image;
  result.spec.out_channels = layout->out_channels;
  result.spec.condition.num_classes = layout->num_classes;
  result.spec.condition.augment_size = layout->augment_size;
  result.summary = text("A U-Net of EDM2's names for images of ", layout->image.width, " x ", layout->image.height,
                        " pixels, ", layout->image.channels, " -> ", layout->out_channels, " channels, ",
                        layout->num_classes > 0 ? text(layout->num_classes, " classes") : "unconditional");
  if (unseen.as_table().empty()) {
    result.remarks.emplace_back("num_head_channels and the four balances leave no trace in the weights");
  }
  return result;
}

ForeignWeights Edm2Weights::write(const BackboneWeights& weights) const {
  return {weights.tensors, Value(), unseen_of_edm2(weights.options)};
}

}  // namespace casdm::unet
