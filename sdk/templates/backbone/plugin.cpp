#include <ATen/ATen.h>

#include <cmath>

#include "casdm/backbone.h"
#include "casdm/parameter_maker.h"
#include "casdm/plugin.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  std::int64_t channels = 32;
  std::int64_t depth = 4;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("channels", &TemplateNameOptions::channels, "Width of the network.").range(2, 4096);
    s.option("depth", &TemplateNameOptions::depth, "Number of residual blocks.").range(1, 256);
  }
};

struct Block {
  casdm::LayerParameters conv1, conditioning, conv2;
};

/// A residual network at one resolution: `depth` blocks of two 3x3 convolutions, each conditioned on the time, the
/// label and the augmentation.
class TemplateNameBackbone : public casdm::Backbone {
 public:
  using Options = TemplateNameOptions;

  TemplateNameBackbone(const Options& options, const Spec& spec) : channels_(options.channels), make_(spec.seed) {
    if (spec.condition.num_classes > 0)
      labels_ = make_.normal("labels.weight", {spec.condition.num_classes, 2 * half()});
    if (spec.condition.augment_size > 0)
      augment_ = make_.normal("augment.weight", {2 * half(), spec.condition.augment_size}, 0.1);
    in_ = make_.layer("in", {channels_, spec.image.channels, 3, 3});
    for (std::int64_t i = 0; i < options.depth; ++i) {
      const std::string name = "blocks." + std::to_string(i);
      blocks_.push_back({make_.layer(name + ".conv1", {channels_, channels_, 3, 3}),
                         make_.layer(name + ".conditioning", {channels_, 2 * half()}),
                         make_.layer(name + ".conv2", {channels_, channels_, 3, 3})});
    }
    out_ = make_.layer("out", {spec.out_channels, channels_, 3, 3});
  }

  casdm::NamedTensors parameters() const override { return make_.made(); }

  Tensor forward(const Tensor& x, const Tensor& t, const casdm::Condition& condition) override {
    Tensor embedded = embedding(t).to(x.scalar_type());
    if (labels_.defined()) embedded = embedded + at::embedding(labels_, condition.labels);
    if (augment_.defined() && condition.augment.defined())
      embedded = embedded + at::linear(condition.augment, augment_);
    Tensor h = convolve(x, in_);
    for (const Block& block : blocks_) {
      const Tensor shift =
          at::linear(embedded, block.conditioning.weight, block.conditioning.bias).unsqueeze(-1).unsqueeze(-1);
      h = h + convolve(at::silu(convolve(at::silu(h), block.conv1) + shift), block.conv2);
    }
    return convolve(at::silu(h), out_);
  }

 private:
  std::int64_t half() const { return channels_ / 2; }

  static Tensor convolve(const Tensor& x, const casdm::LayerParameters& layer) {
    return at::conv2d(x, layer.weight, layer.bias, /*stride=*/1, /*padding=*/1);
  }

  /// Cosines and sines of t at frequencies from 1 down to 1/10000 (Vaswani et al. 2017): [B, 2 half].
  Tensor embedding(const Tensor& t) const {
    const Tensor frequencies = at::exp(at::arange(half(), t.options()) * (-std::log(10000.0) / half()));
    const Tensor angles = t.unsqueeze(1) * frequencies;
    return at::cat({angles.cos(), angles.sin()}, 1);
  }

  std::int64_t channels_;
  casdm::ParameterMaker make_;
  Tensor labels_;   ///< undefined: unconditional
  Tensor augment_;  ///< undefined: no augmentation
  casdm::LayerParameters in_, out_;
  std::vector<Block> blocks_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A network of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameBackbone>("template_name", "A residual network at one resolution.");
}
