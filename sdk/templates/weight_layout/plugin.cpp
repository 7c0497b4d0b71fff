#include <ATen/ATen.h>

#include <map>

#include "casdm/backbone.h"
#include "casdm/error.h"
#include "casdm/parameter_maker.h"
#include "casdm/plugin.h"
#include "casdm/weight_layout.h"

namespace {

using at::Tensor;

struct NetworkOptions {
  std::int64_t channels = 16;

  static void describe(casdm::Schema<NetworkOptions>& s) {
    s.option("channels", &NetworkOptions::channels, "Width of the network.").range(1, 4096);
  }
};

/// The network whose weights are exchanged; replace it by yours. Two convolutions with a shift in between.
class TemplateNameNetwork : public casdm::Backbone {
 public:
  using Options = NetworkOptions;

  TemplateNameNetwork(const Options& options, const Spec& spec) : make_(spec.seed) {
    const std::int64_t width = options.channels;
    first_ = make_.normal("first.weight", {width, spec.image.channels, 3, 3}, 0.1);
    time_ = make_.normal("time.weight", {width}, 0.1);
    second_ = make_.normal("second.weight", {spec.out_channels, width, 3, 3}, 0.1);
    const casdm::ConditionInfo& condition = spec.condition;
    if (condition.num_classes > 0) labels_ = make_.normal("labels.weight", {condition.num_classes, width}, 0.1);
    if (condition.augment_size > 0) augment_ = make_.normal("augment.weight", {width, condition.augment_size}, 0.1);
  }

  casdm::NamedTensors parameters() const override { return make_.made(); }

  Tensor forward(const Tensor& x, const Tensor& t, const casdm::Condition& condition) override {
    Tensor shift = t.to(x.scalar_type()).unsqueeze(1) * 0.01 * time_;
    if (labels_.defined()) shift = shift + at::embedding(labels_, condition.labels);
    if (augment_.defined() && condition.augment.defined()) shift = shift + at::linear(condition.augment, augment_);
    return at::conv2d(at::tanh(at::conv2d(x, first_, {}, 1, 1) + shift.unsqueeze(-1).unsqueeze(-1)), second_, {}, 1, 1);
  }

 private:
  casdm::ParameterMaker make_;
  Tensor first_, time_, second_, labels_, augment_;
};

constexpr std::string_view kPrefix = "model.";

/// Another program's name of each tensor: "model." before ours. Yours may rename, transpose, split and join tensors,
/// and read a config file stored with them.
class TemplateNameLayout : public casdm::WeightLayout {
 public:
  using Options = casdm::NoOptions;

  TemplateNameLayout(const Options&, const Spec& spec) : image_size_(spec.image_size) {}

  casdm::WeightLayoutInfo info() const override {
    casdm::WeightLayoutInfo info;
    info.backbone = "template_name_network";
    info.sample.set("channels", 4);
    return info;
  }

  casdm::LayoutMatch recognise(const casdm::ForeignWeights& weights) const override {
    const casdm::BackboneWeights network = renamed(weights);
    if (network.tensors.empty()) return {};
    const std::string difference = difference_of(network);
    return {difference.empty() ? 1.0 : 0.0, difference};
  }

  casdm::BackboneWeights read(const casdm::ForeignWeights& weights) const override {
    casdm::BackboneWeights network = renamed(weights);
    const std::string difference = difference_of(network);
    if (!difference.empty()) throw casdm::Error("no network of mine: " + difference);
    return network;
  }

  casdm::ForeignWeights write(const casdm::BackboneWeights& network) const override {
    casdm::ForeignWeights weights;
    for (const auto& [name, tensor] : network.tensors)
      weights.tensors.emplace_back(std::string(kPrefix) + name, tensor);
    return weights;
  }

 private:
  /// The network that the shapes of the tensors show; all names must begin with "model.", otherwise the result has no
  /// tensors.
  casdm::BackboneWeights renamed(const casdm::ForeignWeights& weights) const {
    casdm::BackboneWeights network;
    network.summary = "A network of mine";
    network.spec.image = casdm::ImageShape::square(3, image_size_);
    for (const auto& [name, tensor] : weights.tensors) {
      if (!name.starts_with(kPrefix)) return {};
      const std::string own = name.substr(kPrefix.size());
      const auto extent = [&](std::int64_t dimension) { return dimension < tensor.dim() ? tensor.size(dimension) : 1; };
      if (own == "first.weight") network.options.set("channels", extent(0));
      if (own == "first.weight") network.spec.image.channels = extent(1);
      if (own == "second.weight") network.spec.out_channels = extent(0);
      if (own == "labels.weight") network.spec.condition.num_classes = extent(0);
      if (own == "augment.weight") network.spec.condition.augment_size = extent(1);
      network.tensors.emplace_back(own, tensor);
    }
    return network;
  }

  /// How the tensors differ from those of the network with its options and spec; empty: not at all.
  static std::string difference_of(const casdm::BackboneWeights& network) {
    std::map<std::string, std::vector<std::int64_t>> left;
    for (const auto& [name, tensor] : network.tensors) left[name] = tensor.sizes().vec();
    if (!left.contains("first.weight")) return "there is no first.weight";
    const TemplateNameNetwork same(casdm::read_options<NetworkOptions>(network.options), network.spec);
    for (const auto& [name, tensor] : casdm::state(same)) {
      if (!left.contains(name)) return "there is no " + name;
      if (left[name] != tensor.sizes().vec()) return name + " has another shape";
      left.erase(name);
    }
    return left.empty() ? "" : "it has no " + left.begin()->first;
  }

  std::int64_t image_size_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A network of my own and its weights in files of others", .licence = "Apache-2.0"});
  plugin.add<TemplateNameNetwork>("template_name_network", "Two convolutions.");
  plugin.add<TemplateNameLayout>("template_name", "Weights of my network as another program saves them.");
}
