#include "dinov2.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "images.h"
#include "resampling.h"
#include "weight_file.h"

namespace casdm::feature_extractors {

namespace {

constexpr std::int64_t kPatch = 14;
constexpr std::int64_t kHead = 64;  // width of an attention head
constexpr double kNormEps = 1e-6;   // of the layer norms
constexpr double kOffset = 0.1;     // the authors add it to the size that positions are interpolated to

/// Normalises [0, 1] with ImageNet's mean and standard deviation.
Tensor standardised(const Tensor& x) {
  const auto per_channel = [&](at::ArrayRef<double> values) {
    std::vector<Tensor> channels;  // each filled on the device, so that nothing is copied to it
    for (const double value : values) channels.push_back(at::full({1, 1, 1, 1}, value, x.options()));
    return at::cat(channels, 1);
  };
  return ((x + 1) / 2 - per_channel({0.485, 0.456, 0.406})) / per_channel({0.229, 0.224, 0.225});
}

}  // namespace

Tensor Dinov2::Linear::operator()(const Tensor& x) const {
  return at::linear(x, weight.to(x.scalar_type()), bias.to(x.scalar_type()));
}

Tensor Dinov2::Norm::operator()(const Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight.to(x.scalar_type()), bias.to(x.scalar_type()), kNormEps);
}

Tensor Dinov2::Block::operator()(const Tensor& x) const {
  const std::int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
  const Tensor parts = qkv(norm1(x)).view({batch, tokens, 3, width / kHead, kHead}).permute({2, 0, 3, 1, 4});
  const Tensor attended = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
  const Tensor h = x + scale1.to(x.scalar_type()) * project(attended.transpose(1, 2).reshape({batch, tokens, width}));
  return h + scale2.to(x.scalar_type()) * contract(at::gelu(expand(norm2(h))));
}

void Dinov2Options::describe(Schema<Dinov2Options>& s) {
  s.option("weights", &Dinov2Options::weights,
           "Safetensors file of the network: a path, or a name looked up in CASDM_WEIGHTS_PATH and the cache. "
           "docs/weights.md says how to make it.");
  s.option("size", &Dinov2Options::size, "Height and width that images are resized to, a multiple of 14.")
      .range(14, 1400)
      .in_unit("pixels");
}

Tensor Dinov2::take(const TensorFile& file, const std::string& name) {
  return add_buffer(name, file.at(name).to(at::kFloat));
}

Dinov2::Linear Dinov2::take_linear(const TensorFile& file, const std::string& name) {
  return {take(file, name + ".weight"), take(file, name + ".bias")};
}

Dinov2::Norm Dinov2::take_norm(const TensorFile& file, const std::string& name) {
  return {take(file, name + ".weight"), take(file, name + ".bias")};
}

Dinov2::Dinov2(const Options& options, const Spec& spec)
    : size_(options.size), channels_(require_rgb_or_grey(spec.image, "dinov2")) {
  if (size_ % kPatch != 0) {
    throw ConfigError(text("size: ", size_, " is not a multiple of ", kPatch,
                           ", the side of a patch; the next ones are ", size_ / kPatch * kPatch, " and ",
                           (size_ / kPatch + 1) * kPatch));
  }
  const WeightFile file = read_weights(options.weights, "dinov2 --file FILE --out DIR");
  const TensorFile& content = file.content;
  sha256_ = file.sha256;
  class_token_ = take(content, "cls_token");
  positions_ = take(content, "pos_embed");
  if (content.contains("register_tokens")) registers_ = take(content, "register_tokens");
  patches_ = take_linear(content, "patch_embed.proj");
  const std::int64_t width = class_token_.size(-1), side = std::llround(std::sqrt(positions_.size(1) - 1));
  if (width % kHead != 0 || patches_.weight.sizes() != at::IntArrayRef({width, 3, kPatch, kPatch}) ||
      positions_.sizes() != at::IntArrayRef({1, side * side + 1, width})) {
    throw Error(text(file.path.string(), " holds another network: its patches have weights of shape ",
                     patches_.weight.sizes(), " and its positions ", positions_.sizes()));
  }
  for (std::size_t i = 0; content.contains(text("blocks.", i, ".norm1.weight")); ++i) {
    const std::string name = text("blocks.", i, ".");
    blocks_.push_back({take_norm(content, name + "norm1"), take_norm(content, name + "norm2"),
                       take_linear(content, name + "attn.qkv"), take_linear(content, name + "attn.proj"),
                       take_linear(content, name + "mlp.fc1"), take_linear(content, name + "mlp.fc2"),
                       take(content, name + "ls1.gamma"), take(content, name + "ls2.gamma")});
  }
  norm_ = take_norm(content, "norm");
}

ExtractorInfo Dinov2::info() const {
  const std::int64_t width = class_token_.size(-1);
  ExtractorInfo info{.features = {{"class_token", width, false}, {"patch_tokens", width, true}},
                     .input_size = size_,
                     .resize = ExtractorResize::bicubic_antialias,
                     .channels = channels_,
                     .trained_on = "LVD-142M, without labels",
                     .weights = sha256_,
                     .citation = "Oquab et al. 2023, DINOv2, arXiv 2304.07193",
                     .licence = "Apache-2.0"};
  for (std::size_t i = 1; i < blocks_.size(); ++i) {
    info.features.push_back({text("class_token_", i), width, false});
    info.features.push_back({text("patch_tokens_", i), width, true});
  }
  return info;
}

Tensor Dinov2::positions() const {
  const std::int64_t side = size_ / kPatch, trained = std::llround(std::sqrt(positions_.size(1) - 1));
  if (side == trained) return positions_;
  const std::int64_t width = positions_.size(2);
  const Tensor map =
      positions_.narrow(1, 1, trained * trained).view({1, trained, trained, width}).permute({0, 3, 1, 2});
  const double scale = (static_cast<double>(side) + kOffset) / static_cast<double>(trained);
  const Tensor interpolated = at::upsample_bicubic2d(map, {side, side}, /*align_corners=*/false, scale, scale);
  return at::cat({positions_.narrow(1, 0, 1), interpolated.permute({0, 2, 3, 1}).reshape({1, side * side, width})}, 1);
}

NamedTensors Dinov2::extract(const Tensor& images, const std::vector<std::string>& names) {
  const Tensor x = standardised(resized(as_rgb(images), size_, ExtractorResize::bicubic_antialias));
  const auto type = x.scalar_type();
  const std::int64_t batch = x.size(0), side = size_ / kPatch, width = class_token_.size(-1);
  const Tensor map = at::conv2d(x, patches_.weight.to(type), patches_.bias.to(type), kPatch);
  Tensor h = at::cat({class_token_.to(type).expand({batch, -1, -1}), map.flatten(2).transpose(1, 2)}, 1);
  h = h + positions().to(type);
  if (registers_.defined()) {
    h = at::cat({h.narrow(1, 0, 1), registers_.to(type).expand({batch, -1, -1}), h.narrow(1, 1, side * side)}, 1);
  }
  NamedTensors result;
  for (const std::string& name : names) result.emplace_back(name, Tensor());
  for (std::size_t i = 1; i <= blocks_.size(); ++i) {
    h = blocks_[i - 1](h);
    const std::string suffix = i == blocks_.size() ? "" : text('_', i);
    for (auto& [name, tensor] : result) {
      if (name == "class_token" + suffix) tensor = norm_(h.select(1, 0));
      if (name != "patch_tokens" + suffix) continue;
      const Tensor tokens = norm_(h.narrow(1, h.size(1) - side * side, side * side));
      tensor = tokens.transpose(1, 2).reshape({batch, width, side, side});
    }
  }
  return result;
}

}  // namespace casdm::feature_extractors
