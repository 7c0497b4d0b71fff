#include "shape.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/text.h"
#include "state_shapes/state_shapes.h"

namespace casdm::dit {

namespace {

constexpr std::int64_t kFrequencies = 256;
constexpr std::int64_t kMostBlocks = 1000;

void add_layer(std::vector<DitTensor>& to, const std::string& name, std::vector<std::int64_t> weight, Start start) {
  const std::int64_t out = weight.front();
  to.push_back({name + ".weight", std::move(weight), start});
  to.push_back({name + ".bias", {out}, Start::zero});
}

/// The network that the shapes describe, if they belong to one.
DitShape guessed(const Shapes& shapes) {
  DitShape shape;
  shape.bottleneck = size_of(shapes, "x_embedder.proj1.weight", 0);
  const std::string in = shape.bottleneck > 0 ? "x_embedder.proj1.weight" : "x_embedder.proj.weight";
  shape.in_channels = size_of(shapes, in, 1);
  shape.patch = size_of(shapes, in, 2);
  shape.width = size_of(shapes, "t_embedder.mlp.0.weight", 0);
  shape.hidden = size_of(shapes, "blocks.0.mlp.fc1.weight", 0);
  shape.depth = 0;
  while (shape.depth < kMostBlocks && shapes.contains(text("blocks.", shape.depth, ".attn.qkv.weight"))) ++shape.depth;
  shape.has_skips = shapes.contains(text("blocks.", shape.depth - 1, ".skip_linear.weight"));
  shape.num_classes = size_of(shapes, "y_embedder.embedding_table.weight", 0);
  shape.augment_size = size_of(shapes, "a_embedder.weight", 1);
  shape.patches = size_of(shapes, "pos_embed", 1);
  const std::int64_t area = shape.patch * shape.patch;
  shape.out_channels = area > 0 ? size_of(shapes, "final_layer.linear.weight", 0) / area : 0;
  return shape;
}

bool is_sane(const DitShape& s) {
  for (const std::int64_t size : {s.in_channels, s.out_channels, s.patch, s.width, s.hidden, s.depth, s.patches}) {
    if (size < 1 || size > std::int64_t{1} << 24) return false;
  }
  return s.patch <= 32 && s.width % 4 == 0 && s.width <= 1 << 16 && s.bottleneck <= 1 << 16;
}

/// Sines, then cosines of 1-d positions [N] at the frequencies 10000^(-i / half), float64 [N, 2 half].
Tensor waves(const Tensor& positions, std::int64_t half) {
  const Tensor frequencies = at::pow(10000.0, -at::arange(half, at::kDouble) / static_cast<double>(half));
  const Tensor angles = positions.unsqueeze(1) * frequencies;
  return at::cat({angles.sin(), angles.cos()}, 1);
}

}  // namespace

DitShape shape_of(const DitOptions& options, const Backbone::Spec& spec) {
  DitShape shape;
  shape.in_channels = spec.image.channels;
  shape.out_channels = spec.out_channels;
  shape.patch = options.patch;
  shape.width = options.width;
  shape.hidden = hidden_width(options);
  shape.depth = options.depth;
  shape.bottleneck = options.bottleneck;
  shape.has_skips = options.skips && options.depth > 1;
  shape.num_classes = spec.condition.num_classes;
  shape.augment_size = spec.condition.augment_size;
  shape.patches = spec.image.height / options.patch * (spec.image.width / options.patch);
  return shape;
}

std::int64_t square_side(const DitShape& shape) {
  const std::int64_t side = std::llround(std::sqrt(static_cast<double>(shape.patches)));
  return side * side == shape.patches ? side * shape.patch : 0;
}

std::vector<DitTensor> tensors_of(const DitShape& s) {
  std::vector<DitTensor> result;
  if (s.bottleneck > 0) {
    result.push_back({"x_embedder.proj1.weight", {s.bottleneck, s.in_channels, s.patch, s.patch}, Start::glorot});
    add_layer(result, "x_embedder.proj2", {s.width, s.bottleneck, 1, 1}, Start::glorot);
  } else {
    add_layer(result, "x_embedder.proj", {s.width, s.in_channels, s.patch, s.patch}, Start::glorot);
  }
  add_layer(result, "t_embedder.mlp.0", {s.width, kFrequencies}, Start::small);
  add_layer(result, "t_embedder.mlp.2", {s.width, s.width}, Start::small);
  if (s.num_classes > 0) {
    result.push_back({"y_embedder.embedding_table.weight", {s.num_classes, s.width}, Start::small});
  }
  if (s.augment_size > 0) result.push_back({"a_embedder.weight", {s.width, s.augment_size}, Start::zero});
  for (std::int64_t i = 0; i < s.depth; ++i) {
    const std::string block = text("blocks.", i, ".");
    if (s.has_skips && skip_source(i, s.depth)) {
      add_layer(result, block + "skip_linear", {s.width, 2 * s.width}, Start::glorot);
    }
    add_layer(result, block + "attn.qkv", {3 * s.width, s.width}, Start::glorot);
    add_layer(result, block + "attn.proj", {s.width, s.width}, Start::glorot);
    add_layer(result, block + "mlp.fc1", {s.hidden, s.width}, Start::glorot);
    add_layer(result, block + "mlp.fc2", {s.width, s.hidden}, Start::glorot);
    add_layer(result, block + "adaLN_modulation.1", {6 * s.width, s.width}, Start::zero);
  }
  add_layer(result, "final_layer.linear", {s.patch * s.patch * s.out_channels, s.width}, Start::zero);
  add_layer(result, "final_layer.adaLN_modulation.1", {2 * s.width, s.width}, Start::zero);
  result.push_back({"pos_embed", {1, s.patches, s.width}, Start::positions});
  return result;
}

std::optional<DitShape> recognise(const NamedTensors& tensors, std::string& why) {
  const Shapes shapes = shapes_of(tensors);
  why.clear();
  if (!shapes.contains("final_layer.adaLN_modulation.1.weight") || !shapes.contains("t_embedder.mlp.0.weight")) {
    return std::nullopt;
  }
  const DitShape shape = guessed(shapes);
  if (!is_sane(shape)) {
    why = "the shapes of its patches, blocks and last layer do not make a network";
    return std::nullopt;
  }
  why = difference(shapes, tensors_of(shape));
  return why.empty() ? std::optional(shape) : std::nullopt;
}

std::optional<std::int64_t> skip_source(std::int64_t i, std::int64_t depth) {
  const std::int64_t source = depth - 1 - i;
  return source < i ? std::optional(source) : std::nullopt;
}

Tensor position_embedding(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  const Tensor row = waves(at::arange(rows, at::kDouble), width / 4).unsqueeze(1).expand({rows, columns, width / 2});
  const Tensor column =
      waves(at::arange(columns, at::kDouble), width / 4).unsqueeze(0).expand({rows, columns, width / 2});
  return at::cat({column, row}, 2).reshape({1, rows * columns, width}).to(at::kFloat);
}

}  // namespace casdm::dit
