#include "weight_layouts.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "diffusers_layout.h"
#include "shape.h"
#include "state_shapes/state_shapes.h"

namespace casdm::dit {

namespace {

/// Options that do not affect shapes.
constexpr const char* kUnseen[] = {"num_heads", "time_frequencies", "mlp_norm_eps"};

Value unseen_options(const Value& options) { return picked(options, kUnseen); }

/// @param unseen      options that do not affect shapes
/// @param image_size  0: unknown
BackboneWeights described(const DitShape& shape, NamedTensors tensors, const Value& unseen, std::int64_t image_size) {
  BackboneWeights result;
  result.tensors = std::move(tensors);
  Value& options = result.options;
  options.set("patch", shape.patch);
  options.set("width", shape.width);
  options.set("depth", shape.depth);
  options.set("mlp_ratio", static_cast<double>(shape.hidden) / static_cast<double>(shape.width));
  options.set("bottleneck", shape.bottleneck);
  options.set("skips", shape.has_skips);
  for (const auto& [name, value] : unseen.as_table()) options.set(name, value);
  result.spec.image = ImageShape::square(shape.in_channels, image_size);
  result.spec.out_channels = shape.out_channels;
  result.spec.condition.num_classes = shape.num_classes;
  result.spec.condition.augment_size = shape.augment_size;
  result.summary = text("A DiT of ", shape.depth, " blocks, ", shape.in_channels, " -> ", shape.out_channels,
                        " channels in patches of ", shape.patch, ", ",
                        shape.num_classes > 0 ? text(shape.num_classes, " classes") : "unconditional");
  if (unseen.find("num_heads") == nullptr) {
    result.remarks.emplace_back("num_heads, time_frequencies and mlp_norm_eps leave no trace in the weights");
  }
  if (image_size == 0) {
    result.remarks.push_back(
        text("its ", shape.patches, " patches do not make a square: height and width leave no trace"));
  }
  return result;
}

/// Throws ConfigError if the tensors are not exactly those of a DiT.
DitShape known_shape(const NamedTensors& tensors) {
  std::string why;
  const std::optional<DitShape> shape = recognise(tensors, why);
  if (!shape) throw ConfigError(text("not a transformer with DiT's names", why.empty() ? "" : ": ", why));
  return *shape;
}

}  // namespace

WeightLayoutInfo DitWeights::info() const {
  WeightLayoutInfo info;
  info.backbone = "dit";
  info.is_native = true;
  info.sample.set("patch", 4);
  info.sample.set("width", 16);
  info.sample.set("depth", 3);
  info.sample.set("num_heads", 2);
  return info;
}

LayoutMatch DitWeights::recognise(const ForeignWeights& weights) const {
  LayoutMatch match;
  match.confidence = dit::recognise(weights.tensors, match.difference) ? 1 : 0;
  return match;
}

BackboneWeights DitWeights::read(const ForeignWeights& weights) const {
  const DitShape shape = known_shape(weights.tensors);
  return described(shape, weights.tensors, unseen_options(weights.recorded), square_side(shape));
}

ForeignWeights DitWeights::write(const BackboneWeights& weights) const {
  return {weights.tensors, Value(), unseen_options(weights.options)};
}

WeightLayoutInfo DiffusersDitWeights::info() const {
  WeightLayoutInfo info = DitWeights({}, {}).info();
  info.is_native = false;
  info.sample.set("time_frequencies", std::string(to_string(Frequencies::diffusers)));
  info.weights_file = "diffusion_pytorch_model.safetensors";
  info.config_file = "config.json";
  return info;
}

LayoutMatch DiffusersDitWeights::recognise(const ForeignWeights& weights) const {
  const Value* type = weights.config.find("_class_name");
  return {type != nullptr && *type == "DiTTransformer2DModel" ? 1.0 : 0.0, ""};
}

BackboneWeights DiffusersDitWeights::read(const ForeignWeights& weights) const {
  const DitModel model = from_diffusers(weights.config, weights.tensors);
  return described(model.shape, model.tensors, model.options, model.image_size);
}

ForeignWeights DiffusersDitWeights::write(const BackboneWeights& weights) const {
  DiffusersModel model = to_diffusers(known_shape(weights.tensors), weights.tensors, weights.options);
  return {std::move(model.tensors), std::move(model.config), Value(Value::Table{})};
}

}  // namespace casdm::dit
