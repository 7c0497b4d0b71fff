#include "lpips_weights.h"

#include <ATen/ATen.h>

#include <map>
#include <vector>

#include "casdm/text.h"
#include "support/components.h"

namespace casdm::testing {
namespace {

struct Convolution {
  std::string name;
  std::int64_t in, out, kernel;
};

std::vector<Convolution> fire(const std::string& name, std::int64_t in, std::int64_t squeeze, std::int64_t out) {
  return {{name + ".squeeze", in, squeeze, 1},
          {name + ".expand1x1", squeeze, out / 2, 1},
          {name + ".expand3x3", squeeze, out / 2, 3}};
}

std::vector<Convolution> squeezenet() {
  std::vector<Convolution> result = {{"slice1.0", 3, 64, 3}};
  for (const auto& part :
       {fire("slice2.3", 64, 16, 128), fire("slice2.4", 128, 16, 128), fire("slice3.6", 128, 32, 256),
        fire("slice3.7", 256, 32, 256), fire("slice4.9", 256, 48, 384), fire("slice5.10", 384, 48, 384),
        fire("slice6.11", 384, 64, 512), fire("slice7.12", 512, 64, 512)}) {
    result.insert(result.end(), part.begin(), part.end());
  }
  return result;
}

const std::map<std::string, std::vector<Convolution>> kTrunks = {
    {"vgg16",
     {{"slice1.0", 3, 64, 3},
      {"slice1.2", 64, 64, 3},
      {"slice2.5", 64, 128, 3},
      {"slice2.7", 128, 128, 3},
      {"slice3.10", 128, 256, 3},
      {"slice3.12", 256, 256, 3},
      {"slice3.14", 256, 256, 3},
      {"slice4.17", 256, 512, 3},
      {"slice4.19", 512, 512, 3},
      {"slice4.21", 512, 512, 3},
      {"slice5.24", 512, 512, 3},
      {"slice5.26", 512, 512, 3},
      {"slice5.28", 512, 512, 3}}},
    {"alexnet",
     {{"slice1.0", 3, 64, 11},
      {"slice2.3", 64, 192, 5},
      {"slice3.6", 192, 384, 3},
      {"slice4.8", 384, 256, 3},
      {"slice5.10", 256, 256, 3}}},
    {"squeezenet", squeezenet()},
};

const std::map<std::string, std::vector<std::int64_t>> kTaps = {
    {"vgg16", {64, 128, 256, 512, 512}},
    {"alexnet", {64, 192, 384, 256, 256}},
    {"squeezenet", {64, 128, 256, 384, 384, 512, 512}},
};

}  // namespace

namespace {

/// The trunk filled like the goldens', under "net.".
NamedTensors filled_trunk(const std::string& net) {
  NamedTensors trunk;
  for (const Convolution& c : kTrunks.at(net)) {
    trunk.emplace_back(c.name + ".weight", at::empty({c.out, c.in, c.kernel, c.kernel}));
    trunk.emplace_back(c.name + ".bias", at::empty({c.out}));
  }
  fill_state(trunk);
  NamedTensors state;
  for (const auto& [name, tensor] : trunk) state.emplace_back("net." + name, tensor);
  return state;
}

Tensor per_channel(at::ArrayRef<float> values) { return at::tensor(values).view({1, 3, 1, 1}); }

}  // namespace

NamedTensors lpips_state(const std::string& net) {
  NamedTensors state = filled_trunk(net);
  const std::vector<std::int64_t>& taps = kTaps.at(net);
  for (std::size_t k = 0; k < taps.size(); ++k) {
    state.emplace_back(text("lin", k, ".model.1.weight"), at::ones({1, taps[k], 1, 1}));
  }
  state.emplace_back("scaling_layer.shift", per_channel({-.030F, -.088F, -.188F}));
  state.emplace_back("scaling_layer.scale", per_channel({.458F, .448F, .450F}));
  return state;
}

NamedTensors dists_state() {
  NamedTensors state = filled_trunk("vgg16");
  std::int64_t channels = 3;
  for (const std::int64_t tap : kTaps.at("vgg16")) channels += tap;
  state.emplace_back("alpha", at::ones({1, channels, 1, 1}));
  state.emplace_back("beta", at::full({1, channels, 1, 1}, 0.5F));
  state.emplace_back("mean", per_channel({.485F, .456F, .406F}));
  state.emplace_back("std", per_channel({.229F, .224F, .225F}));
  return state;
}

}  // namespace casdm::testing
