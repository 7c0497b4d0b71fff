#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/text.h"
#include "casdm/torch_nn.h"

namespace {

using at::Tensor;
namespace nn = torch::nn;

struct TransformerOptions {
  std::int64_t width = 64;
  std::int64_t depth = 4;
  std::int64_t heads = 4;
  std::int64_t patch = 4;
  double dropout = 0;

  static void describe(casdm::Schema<TransformerOptions>& s) {
    s.option("width", &TransformerOptions::width, "Numbers per patch.").range(2, 4096);
    s.option("depth", &TransformerOptions::depth, "Number of blocks.").range(1, 256);
    s.option("heads", &TransformerOptions::heads, "Attention heads; they divide the width.").range(1, 64);
    s.option("patch", &TransformerOptions::patch, "Side of a patch; it divides the image size.").range(1, 64);
    s.option("dropout", &TransformerOptions::dropout, "Share of the numbers dropped in each block.").range(0, 0.99);
  }
};

Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1);
}

/// A transformer block conditioned by adaLN-zero: its last layers start at zero, so it starts as the identity (Peebles
/// & Xie 2023, section 3.2).
struct BlockImpl : nn::Module {
  BlockImpl(std::int64_t width, std::int64_t heads) : heads(heads) {
    const auto plain = nn::LayerNormOptions({width}).elementwise_affine(false);
    norm1 = register_module("norm1", nn::LayerNorm(plain));
    norm2 = register_module("norm2", nn::LayerNorm(plain));
    qkv = register_module("qkv", nn::Linear(width, 3 * width));
    out = register_module("out", nn::Linear(width, width));
    mlp1 = register_module("mlp1", nn::Linear(width, 4 * width));
    mlp2 = register_module("mlp2", nn::Linear(4 * width, width));
    modulation = register_module("modulation", nn::Linear(width, 6 * width));
    nn::init::zeros_(modulation->weight);
    nn::init::zeros_(modulation->bias);
  }

  /// Applies dropout with probability `share` in layers `layer` and `layer` + 1; nn::Dropout would draw from the global
  /// generator.
  Tensor forward(const Tensor& x, const Tensor& conditioning, const casdm::Dropout& dropout, double share,
                 std::uint64_t layer) {
    const auto m = modulation(at::silu(conditioning)).chunk(6, 1);
    Tensor h = x + m[2].unsqueeze(1) * dropout.apply(attention(modulated(norm1(x), m[0], m[1])), share, layer);
    const Tensor wide = at::gelu(mlp1(modulated(norm2(h), m[3], m[4])));
    return h + m[5].unsqueeze(1) * dropout.apply(mlp2(wide), share, layer + 1);
  }

  Tensor attention(const Tensor& x) {
    const auto parts = qkv(x).reshape({x.size(0), x.size(1), 3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
    const Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
    return out(mixed.transpose(1, 2).flatten(2));
  }

  std::int64_t heads;
  nn::LayerNorm norm1{nullptr}, norm2{nullptr};
  nn::Linear qkv{nullptr}, out{nullptr}, mlp1{nullptr}, mlp2{nullptr}, modulation{nullptr};
};
TORCH_MODULE(Block);

/// A small DiT: patches, blocks, patches.
struct TransformerImpl : nn::Module {
  TransformerImpl(const TransformerOptions& options, const casdm::Backbone::Spec& spec) : options(options) {
    check(spec);
    const std::int64_t width = options.width;
    const std::int64_t side = spec.image.height / options.patch;
    const auto patches = nn::Conv2dOptions(spec.image.channels, width, options.patch).stride(options.patch);
    in = register_module("in", nn::Conv2d(patches));
    position = register_parameter("position", 0.02 * torch::randn({1, side * side, width}));
    time1 = register_module("time1", nn::Linear(width, width));
    time2 = register_module("time2", nn::Linear(width, width));
    if (spec.condition.num_classes > 0)
      label = register_module("label", nn::Embedding(spec.condition.num_classes, width));
    if (spec.condition.augment_size > 0) {
      augment =
          register_module("augment", nn::Linear(nn::LinearOptions(spec.condition.augment_size, width).bias(false)));
    }
    for (std::int64_t i = 0; i < options.depth; ++i) blocks->push_back(Block(width, options.heads));
    register_module("blocks", blocks);
    norm = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({width}).elementwise_affine(false)));
    last = register_module("last", nn::Linear(width, spec.out_channels * options.patch * options.patch));
    nn::init::zeros_(last->weight);
    nn::init::zeros_(last->bias);
  }

  Tensor forward(const Tensor& x, const Tensor& t, const casdm::Condition& condition) {
    Tensor conditioning = time2(at::silu(time1(embedded(t).to(x.scalar_type()))));
    if (label) conditioning = conditioning + label(condition.labels);
    if (augment && condition.augment.defined()) conditioning = conditioning + augment(condition.augment);
    Tensor h = in(x).flatten(2).transpose(1, 2) + position;
    const casdm::Dropout dropout = is_training() ? condition.dropout : casdm::Dropout();
    std::uint64_t layer = 0;
    for (const auto& block : *blocks) {
      h = block->as<Block>()->forward(h, conditioning, dropout, options.dropout, layer);
      layer += 2;
    }
    const Tensor patches = last(norm(h)).transpose(1, 2);  // [B, out * patch^2, patches]
    return at::pixel_shuffle(patches.unflatten(2, {x.size(2) / options.patch, x.size(3) / options.patch}),
                             options.patch);
  }

  void check(const casdm::Backbone::Spec& spec) const {
    if (options.width % (2 * options.heads) != 0) {
      throw casdm::ConfigError(
          casdm::text("width = ", options.width, " cannot be split into ", options.heads, " heads of even width"));
    }
    if (spec.image.height % options.patch != 0) {
      throw casdm::ConfigError(
          casdm::text("patch = ", options.patch, " does not divide the image size, ", spec.image.height));
    }
  }

  /// Cosines and sines of t at frequencies from 1 down to 1/10000.
  Tensor embedded(const Tensor& t) const {
    const std::int64_t half = options.width / 2;
    const Tensor frequencies =
        at::exp(at::arange(half, t.options()) * (-std::log(10000.0) / static_cast<double>(half)));
    const Tensor angles = t.unsqueeze(1) * frequencies;
    return at::cat({angles.cos(), angles.sin()}, 1);
  }

  TransformerOptions options;
  nn::Conv2d in{nullptr};
  Tensor position;
  nn::Linear time1{nullptr}, time2{nullptr}, augment{nullptr}, last{nullptr};
  nn::Embedding label{nullptr};
  nn::ModuleList blocks;
  nn::LayerNorm norm{nullptr};
};
}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A transformer written with torch::nn", .licence = "Apache-2.0"});
  plugin.add<casdm::TorchBackbone<TransformerImpl, TransformerOptions>>(
      "transformer", "A small DiT (Peebles & Xie 2023) written with torch::nn.");
}
