#include "efficientnet_lite.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "images.h"
#include "resampling.h"
#include "weight_file.h"

namespace casdm::feature_extractors {

namespace {

constexpr double kBatchNormEps = 1e-3;  // of the batch normalisations
constexpr double kDepths[] = {1.0, 1.1, 1.2};
constexpr std::int64_t kLastChannels[] = {320, 320, 352};  // of the last block, by variant

/// A row of table 1 of the paper: consecutive blocks, of which the first has the stride.
struct Stage {
  int repeats;
  std::int64_t stride;
};
constexpr Stage kStages[] = {{1, 1}, {2, 2}, {2, 2}, {3, 2}, {3, 1}, {4, 2}, {1, 1}};

/// The first and the last stage are the same in all variants.
std::vector<std::int64_t> strides_of(int variant) {
  std::vector<std::int64_t> strides;
  for (const Stage& stage : kStages) {
    const int repeats =
        stage.repeats == 1 ? 1 : static_cast<int>(std::ceil(kDepths[variant] * static_cast<double>(stage.repeats)));
    for (int i = 0; i < repeats; ++i) strides.push_back(i == 0 ? stage.stride : 1);
  }
  return strides;
}

/// TensorFlow's "same" padding: an odd pixel goes to the right and to the bottom.
Tensor with_padding(const Tensor& x, std::int64_t kernel, std::int64_t stride) {
  const auto missing = [&](std::int64_t size) {
    return std::max<std::int64_t>(0, ((size + stride - 1) / stride - 1) * stride + kernel - size);
  };
  const std::int64_t rows = missing(x.size(2)), columns = missing(x.size(3));
  if (rows == 0 && columns == 0) return x;
  return at::constant_pad_nd(x, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
}

/// The padding that a convolution with stride 1 can add itself; otherwise `with_padding` adds it.
Convolution::Form form_of(std::int64_t kernel, std::int64_t stride, std::int64_t groups) {
  const std::int64_t padding = stride == 1 ? kernel / 2 : 0;
  return {.stride = stride, .groups = groups, .padding = {padding, padding}};
}

Tensor capped(Tensor x) { return at::relu6_(x); }

}  // namespace

Tensor EfficientNetLite::Block::operator()(const Tensor& x) const {
  Tensor h = expand ? capped((*expand)(x)) : x;
  if (stride > 1) h = with_padding(h, depthwise.kernel(), stride);
  h = project(capped(depthwise(h)));
  return has_skip ? h + x : h;
}

EfficientNetLite::EfficientNetLite(const Setup& setup, const Spec& spec)
    : setup_(setup), channels_(require_rgb_or_grey(spec.image, text("efficientnet_lite", setup.variant))) {
  const WeightFile file = read_weights(setup.weights, "efficientnet-lite --download --out DIR");
  sha256_ = file.sha256;
  const std::vector<std::int64_t> strides = strides_of(setup.variant);
  if (!file.content.contains(text("_blocks.", strides.size() - 1, "._bn1.weight")) ||
      file.content.contains(text("_blocks.", strides.size(), "._bn1.weight"))) {
    throw Error(text(file.path.string(), " holds another network: efficientnet_lite", setup.variant, " has ",
                     strides.size(), " blocks"));
  }
  NamedTensors buffers;
  const auto make = [&](const std::string& convolution, const std::string& norm, std::int64_t channels,
                        const Convolution::Form& form) {
    return Convolution(file.content, convolution, norm, kBatchNormEps, channels, form, buffers);
  };
  stem_ = make("_conv_stem", "_bn0", 3, form_of(3, 2, 1));
  std::int64_t channels = stem_.channels();
  for (std::size_t i = 0; i < strides.size(); ++i) {
    const std::string name = text("_blocks.", i, ".");
    const std::int64_t incoming = channels;
    Block& block = blocks_.emplace_back();
    block.stride = strides[i];
    if (file.content.contains(name + "_expand_conv.weight")) {
      block.expand = make(name + "_expand_conv", name + "_bn0", channels, {});
      channels = block.expand->channels();
    }
    const std::int64_t kernel = file.content.at(name + "_depthwise_conv.weight").size(-1);
    block.depthwise = make(name + "_depthwise_conv", name + "_bn1", channels, form_of(kernel, strides[i], channels));
    block.project = make(name + "_project_conv", name + "_bn2", channels, {});
    channels = block.project.channels();
    block.has_skip = strides[i] == 1 && channels == incoming;
  }
  if (channels != kLastChannels[setup.variant]) {
    throw Error(text(file.path.string(), " holds another network: the last block of efficientnet_lite", setup.variant,
                     " has ", kLastChannels[setup.variant], " channels, this one ", channels));
  }
  head_ = make("_conv_head", "_bn1", channels, {});
  for (auto& [name, tensor] : buffers) add_buffer(name, tensor);
  class_weight_ = add_buffer("_fc.weight", file.content.at("_fc.weight").to(at::kFloat));
  class_bias_ = add_buffer("_fc.bias", file.content.at("_fc.bias").to(at::kFloat));
}

ExtractorInfo EfficientNetLite::info() const {
  return {.features = {{"pooled", head_.channels(), false},
                       {"spatial", head_.channels(), true},
                       {"logits", class_weight_.size(0), false}},
          .input_size = setup_.size,
          .resize = setup_.resize,
          .channels = channels_,
          .trained_on = "ImageNet-1k, classification",
          .weights = sha256_,
          .citation = "Tan and Le 2019, EfficientNet, arXiv 1905.11946",
          .licence = "Apache-2.0"};
}

NamedTensors EfficientNetLite::extract(const Tensor& images, const std::vector<std::string>& names) {
  Tensor x = resized(as_rgb(images), setup_.size, setup_.resize);
  // The network was trained on (v - 127) / 128 for bytes v.
  x = (x * (127.5 / 128) + 0.5 / 128).contiguous(at::MemoryFormat::ChannelsLast);
  x = capped(stem_(with_padding(x, stem_.kernel(), 2)));
  for (const Block& block : blocks_) x = block(x);
  x = capped(head_(x));
  const Tensor pooled = x.mean({2, 3});
  NamedTensors result;
  for (const std::string& name : names) {
    if (name == "logits") {
      result.emplace_back(name, at::linear(pooled, class_weight_.to(x.scalar_type()), class_bias_.to(x.scalar_type())));
    } else {
      result.emplace_back(name, name == "pooled" ? pooled : x);
    }
  }
  return result;
}

template <int kVariant>
void EfficientNetLiteOptions<kVariant>::describe(Schema<EfficientNetLiteOptions>& s) {
  const std::string file = text("efficientnet_lite", kVariant, ".safetensors");
  s.option("weights", &EfficientNetLiteOptions::weights,
           text("Safetensors file: a path, or a name looked up in CASDM_WEIGHTS_PATH and the cache. docs/weights.md "
                "says how to make it. Default: ",
                file, "."))
      .example(file);
  s.option("size", &EfficientNetLiteOptions::size,
           "Height and width that images are resized to. Smaller ones are faster, but are not what the network was "
           "trained on.")
      .range(32, 1024)
      .in_unit("pixels");
  s.option("resize", &EfficientNetLiteOptions::resize, "How images are resized.")
      .choices({"bicubic_antialias", "bilinear", "tf1_bilinear"});
}

template <int kVariant>
EfficientNetLiteOf<kVariant>::EfficientNetLiteOf(const Options& options, const Spec& spec)
    : EfficientNetLite({.variant = kVariant,
                        .weights = options.weights.value_or(text("efficientnet_lite", kVariant, ".safetensors")),
                        .size = options.size,
                        .resize = resize_method(options.resize)},
                       spec) {}

template struct EfficientNetLiteOptions<0>;
template struct EfficientNetLiteOptions<1>;
template struct EfficientNetLiteOptions<2>;
template class EfficientNetLiteOf<0>;
template class EfficientNetLiteOf<1>;
template class EfficientNetLiteOf<2>;

}  // namespace casdm::feature_extractors
