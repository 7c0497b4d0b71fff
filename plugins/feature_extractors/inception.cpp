#include "inception.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"
#include "images.h"
#include "resampling.h"
#include "weight_file.h"

namespace casdm::feature_extractors {

namespace {

using Pool = Inception::Pool;

constexpr double kEps = 1e-3;  // of the batch normalisations
constexpr std::int64_t kSize = 299;
constexpr std::int64_t kClasses = 1008;
constexpr std::size_t kSpatialBlock = 6;      // Mixed_6d, TensorFlow's mixed_6
constexpr std::int64_t kSpatialChannels = 7;  // of its first branch
constexpr std::int64_t kSpatialPlaces = 17 * 17;

/// The names of a branch's convolutions in the published state.
struct BranchForm {
  std::vector<std::string> row = {};
  Pool pool = Pool::none;
  std::vector<std::string> fork = {};
  bool has_stride = false;  ///< the last convolution has stride 2 and no padding
};
using BlockForm = std::vector<BranchForm>;

BlockForm last_block(Pool pool) {
  return {{{"branch1x1"}},
          {{"branch3x3_1"}, Pool::none, {"branch3x3_2a", "branch3x3_2b"}},
          {{"branch3x3dbl_1", "branch3x3dbl_2"}, Pool::none, {"branch3x3dbl_3a", "branch3x3dbl_3b"}},
          {{"branch_pool"}, pool}};
}

std::vector<std::pair<std::string, BlockForm>> block_forms() {
  const BlockForm a = {{{"branch1x1"}},
                       {{"branch5x5_1", "branch5x5_2"}},
                       {{"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}},
                       {{"branch_pool"}, Pool::average}};
  const BlockForm b = {{{"branch3x3"}, Pool::none, {}, true},
                       {{"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}, Pool::none, {}, true},
                       {{}, Pool::halving}};
  const BlockForm c = {{{"branch1x1"}},
                       {{"branch7x7_1", "branch7x7_2", "branch7x7_3"}},
                       {{"branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"}},
                       {{"branch_pool"}, Pool::average}};
  const BlockForm d = {{{"branch3x3_1", "branch3x3_2"}, Pool::none, {}, true},
                       {{"branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"}, Pool::none, {}, true},
                       {{}, Pool::halving}};
  return {{"Mixed_5b", a},
          {"Mixed_5c", a},
          {"Mixed_5d", a},
          {"Mixed_6a", b},
          {"Mixed_6b", c},
          {"Mixed_6c", c},
          {"Mixed_6d", c},
          {"Mixed_6e", c},
          {"Mixed_7a", d},
          {"Mixed_7b", last_block(Pool::average)},
          {"Mixed_7c", last_block(Pool::maximum)}};
}

Tensor activated(Tensor x) { return x.relu_(); }

Tensor halved(const Tensor& x) { return at::max_pool2d(x, 3, 2); }

Tensor pooled(Pool pool, const Tensor& x) {
  switch (pool) {
    case Pool::average:
      return at::avg_pool2d(x, 3, 1, 1, /*ceil_mode=*/false, /*count_include_pad=*/false);
    case Pool::maximum:
      return at::max_pool2d(x, 3, 1, 1);
    case Pool::halving:
      return halved(x);
    case Pool::none:
      break;
  }
  return x;
}

ExtractorResize resize_of(const std::string& preparation) {
  if (preparation == "pytorch-fid") return ExtractorResize::bilinear;
  return preparation == "clean-fid" ? ExtractorResize::bicubic_antialias : ExtractorResize::tf1_bilinear;
}

}  // namespace

void InceptionOptions::describe(Schema<InceptionOptions>& s) {
  s.option("preparation", &InceptionOptions::preparation,
           "How images are resized to 299 px and scaled. tensorflow: as guided-diffusion and torch-fidelity do; "
           "pytorch-fid, clean-fid: as those do. Scores of two preparations cannot be compared.")
      .choices({"tensorflow", "pytorch-fid", "clean-fid"});
  s.option(
       "weights", &InceptionOptions::weights,
       "Safetensors file: a path, or a name looked up in CASDM_WEIGHTS_PATH and the cache. docs/weights.md says how "
       "to make it. Default: inception.safetensors.")
      .example("inception.safetensors");
}

Inception::Inception(const Options& options, const Spec& spec)
    : preparation_(options.preparation), channels_(require_rgb_or_grey(spec.image, "inception")) {
  const WeightFile file =
      read_weights(options.weights.value_or("inception.safetensors"), "inception --file FILE --out DIR");
  sha256_ = file.sha256;
  NamedTensors buffers;
  const auto make = [&](const std::string& name, std::int64_t channels, std::int64_t stride, bool adds_zeros) {
    const Tensor& weight = file.content.at(name + ".conv.weight");
    Convolution::Form form{.stride = stride};
    if (adds_zeros && weight.dim() == 4) form.padding = {(weight.size(2) - 1) / 2, (weight.size(3) - 1) / 2};
    return Convolution(file.content, name + ".conv", name + ".bn", kEps, channels, form, buffers);
  };
  std::int64_t channels = 3;
  for (const char* name : {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"}) {
    const std::string_view view = name;
    stem_.push_back(make(name, channels, view == "Conv2d_1a_3x3" ? 2 : 1, view == "Conv2d_2b_3x3"));
    channels = stem_.back().channels();
  }
  for (const auto& [name, form] : block_forms()) {
    Block& block = blocks_.emplace_back();
    std::int64_t together = 0;
    for (const BranchForm& part : form) {
      Branch& branch = block.emplace_back();
      branch.pool = part.pool;
      std::int64_t width = channels;
      for (const std::string& convolution : part.row) {
        const bool is_last = part.has_stride && convolution == part.row.back();
        branch.row.push_back(make(name + "." + convolution, width, is_last ? 2 : 1, !is_last));
        width = branch.row.back().channels();
      }
      for (const std::string& convolution : part.fork) {
        branch.fork.push_back(make(name + "." + convolution, width, 1, true));
        together += branch.fork.back().channels();
      }
      if (part.fork.empty()) together += width;
    }
    channels = together;
  }
  const Tensor &weight = file.content.at("fc.weight"), &bias = file.content.at("fc.bias");
  if (weight.dim() != 2 || weight.size(0) != kClasses || weight.size(1) != channels || bias.numel() != kClasses) {
    throw Error(text(file.path.string(), " holds another network: its classifier has the shape ", weight.sizes(),
                     ", that of TensorFlow's Inception of 2015-12-05 [", kClasses, ", ", channels, "]"));
  }
  for (auto& [name, tensor] : buffers) add_buffer(name, tensor);
  class_weight_ = add_buffer("fc.weight", weight.to(at::kFloat));
  class_bias_ = add_buffer("fc.bias", bias.to(at::kFloat));
}

ExtractorInfo Inception::info() const {
  return {.features = {{"pool3", class_weight_.size(1), false},
                       {"logits", kClasses, false},
                       {"logits_without_bias", kClasses, false},
                       {"mixed_6", kSpatialPlaces * kSpatialChannels, false}},
          .input_size = kSize,
          .resize = resize_of(preparation_),
          .channels = channels_,
          .trained_on = "ImageNet-1k, classification",
          .weights = sha256_,
          .citation = "Szegedy et al. 2016, Rethinking the Inception architecture, arXiv 1512.00567",
          .licence = "Apache-2.0"};
}

Tensor Inception::Branch::operator()(const Tensor& x) const {
  Tensor h = pooled(pool, x);
  for (const Convolution& convolution : row) h = activated(convolution(h));
  if (fork.empty()) return h;
  std::vector<Tensor> sides;
  for (const Convolution& convolution : fork) sides.push_back(activated(convolution(h)));
  return at::cat(sides, 1);
}

Tensor Inception::prepared(const Tensor& images) const {
  Tensor x = resized(as_rgb(images), kSize, resize_of(preparation_));
  if (preparation_ == "pytorch-fid") return x;
  // clean-fid clips what the bicubic filter adds beyond black and white.
  if (preparation_ == "clean-fid") x = x.clamp(-1, 1);
  return x * (127.5 / 128) - 0.5 / 128;  // (v - 128) / 128 for bytes v
}

NamedTensors Inception::extract(const Tensor& images, const std::vector<std::string>& names) {
  const bool is_spatial = is_wanted(names, "mixed_6");
  const bool is_pooled = names.size() > (is_spatial ? 1U : 0U);
  Tensor x = prepared(images).contiguous(at::MemoryFormat::ChannelsLast);
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    x = activated(stem_[i](x));
    if (i == 2 || i == 4) x = halved(x);
  }
  Tensor spatial, pool3;
  for (std::size_t i = 0; i < blocks_.size() && (is_pooled || i <= kSpatialBlock); ++i) {
    std::vector<Tensor> sides;
    for (const Branch& branch : blocks_[i]) {
      if (!is_pooled && i == kSpatialBlock && !sides.empty()) break;
      sides.push_back(branch(x));
    }
    // Channels last, as in TensorFlow: the covariances in reference files are in this order.
    if (i == kSpatialBlock) spatial = sides[0].narrow(1, 0, kSpatialChannels).permute({0, 2, 3, 1}).flatten(1);
    x = at::cat(sides, 1);
  }
  if (is_pooled) pool3 = x.mean({2, 3});
  NamedTensors result;
  for (const std::string& name : names) {
    if (name == "mixed_6" || name == "pool3") {
      result.emplace_back(name, name == "pool3" ? pool3 : spatial);
      continue;
    }
    const Tensor without_bias = at::linear(pool3, class_weight_.to(x.scalar_type()));
    result.emplace_back(name, name == "logits" ? without_bias + class_bias_.to(x.scalar_type()) : without_bias);
  }
  return result;
}

}  // namespace casdm::feature_extractors
