#include "trunk_extractor.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"
#include "images.h"
#include "weight_file.h"

namespace casdm::feature_extractors {

namespace {

constexpr const char* kPooled = "pooled";

template <class Options>
void describe_trunk(Schema<Options>& s, const std::string& net) {
  s.option("trunk", static_cast<std::string Options::*>(&Options::trunk),
           "st_lpips: with blur pools, as ST-LPIPS trained it; lpips: torchvision's, with max pools.")
      .choices({"st_lpips", "lpips"});
  s.option(
       "weights", static_cast<std::optional<std::string> Options::*>(&Options::weights),
       text("Safetensors file of the metric of this name: a path, or a name looked up in CASDM_WEIGHTS_PATH and the "
            "cache. docs/weights.md says how to make it. Default: <trunk>_",
            net, ".safetensors."))
      .example(text("st_lpips_", net, ".safetensors"));
}

}  // namespace

void Vgg16Options::describe(Schema<Vgg16Options>& s) { describe_trunk(s, "vgg16"); }

void AlexNetOptions::describe(Schema<AlexNetOptions>& s) { describe_trunk(s, "alexnet"); }

TrunkExtractor::TrunkExtractor(const std::string& net, std::vector<std::string> taps, const TrunkOptions& options,
                               const Spec& spec)
    : trunk_(options.trunk == "lpips" ? trunks::lpips_trunk(net, /*average_pool=*/false) : trunks::st_lpips_trunk(net)),
      network_(trunk_),
      taps_(std::move(taps)),
      channels_(require_rgb_or_grey(spec.image, net)) {
  if (std::min(spec.image.height, spec.image.width) < trunk_.minimum_size) {
    throw ConfigError(text(net, " needs images of at least ", trunk_.minimum_size, " px, these have ",
                           spec.image.height, " x ", spec.image.width, "; resize them, or choose another extractor"));
  }
  for (const auto& [name, tensor] : network_.weights()) buffers_.emplace_back("net." + name, tensor);
  shift_ = buffers_.emplace_back("scaling_layer.shift", at::empty({1, 3, 1, 1})).second;
  scale_ = buffers_.emplace_back("scaling_layer.scale", at::empty({1, 3, 1, 1})).second;
  WeightFile file =
      read_weights(options.weights.value_or(text(options.trunk, "_", net, ".safetensors")),
                   options.trunk == "lpips" ? text("lpips --net ", net, " --trunk FILE --download --out DIR")
                                            : "st-lpips --download --out DIR");
  sha256_ = file.sha256;
  licence_ = options.trunk == "lpips" ? "BSD-3-Clause" : "BSD-2-Clause";
  // The file also contains the metric's heads.
  std::erase_if(file.content.tensors, [](const auto& entry) { return entry.first.starts_with("lin"); });
  load_state(*this, file.content.tensors, file.path.string());
}

ExtractorInfo TrunkExtractor::info() const {
  ExtractorInfo info{.features = {{kPooled, trunk_.channels.back(), false}},
                     .channels = channels_,
                     .trained_on = "ImageNet-1k, classification",
                     .weights = sha256_,
                     .citation = "Zhang et al. 2018, arXiv 1801.03924; Ghildyal and Liu 2022, arXiv 2207.13686",
                     .licence = licence_};
  for (std::size_t k = 0; k < taps_.size(); ++k) info.features.push_back({taps_[k], trunk_.channels[k], true});
  return info;
}

NamedTensors TrunkExtractor::extract(const Tensor& images, const std::vector<std::string>& names) {
  const Tensor x = as_rgb(images);
  std::size_t last = is_wanted(names, kPooled) ? taps_.size() : 0;
  for (std::size_t k = last; k < taps_.size(); ++k) {
    if (is_wanted(names, taps_[k])) last = k + 1;
  }
  const std::vector<Tensor> maps = network_((x - shift_.to(x.scalar_type())) / scale_.to(x.scalar_type()), last);
  NamedTensors result;
  for (const std::string& name : names) {
    const auto index = static_cast<std::size_t>(std::find(taps_.begin(), taps_.end(), name) - taps_.begin());
    result.emplace_back(name, name == kPooled ? maps.back().mean({2, 3}) : maps[index]);
  }
  return result;
}

}  // namespace casdm::feature_extractors
