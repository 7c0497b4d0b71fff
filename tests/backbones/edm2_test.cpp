#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "backbones/networks.h"
#include "casdm/error.h"
#include "casdm/parameter_maker.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/weight_layout.h"
#include "framework/config/document.h"
#include "support/observed.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr const char* kEdm2 =
    "channels = 32\nchannel_mult = [1, 2]\nnum_res_blocks = 2\nattention_resolutions = [8]\nnum_head_channels = 16\n";

Backbone::Spec spec_of(std::int64_t classes = 0) {
  Backbone::Spec spec;
  spec.image = ImageShape::square(3, 16);
  spec.condition.num_classes = classes;
  spec.seed = 11;
  return spec;
}

std::shared_ptr<Backbone> edm2(const std::string& options = "", std::int64_t classes = 0) {
  return make<Backbone>("edm2_unet", kEdm2 + options, spec_of(classes));
}

const Tensor kImages = seeded_normal(3, "images", {8, 3, 16, 16}, 1);
const Tensor kTimes = at::linspace(-1500, 1000, 8, at::kFloat);  // 250 ln(sigma) of EDM's path

/// Gives every gain that starts at 0 a value, as after some training: the embedding modulates, and there is an output.
void open_gains(const Backbone& network, double gain) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : by_name(network.parameters())) {
    if (name.ends_with("emb_gain")) Tensor(tensor).fill_(gain);
    if (name == "out_gain") Tensor(tensor).fill_(1);
  }
}

double magnitude(const Tensor& x) { return x.square().mean().sqrt().item<double>(); }

}  // namespace

TEST_CASE("EDM2's network starts as zero, and its inner activations have magnitude 1") {
  const at::NoGradGuard no_grad;
  const auto network = edm2();
  const BackboneOutput output = network->forward_with_taps(kImages, kTimes, {}, {"middle"});
  CHECK(output.sample.count_nonzero().item<std::int64_t>() == 0);
  CHECK(output.taps.front().second.sizes() == at::IntArrayRef({8, 64, 8, 8}));
  // The sums are of 32 and 64 channels that are not quite independent.
  CHECK(magnitude(output.taps.front().second) == doctest::Approx(1).epsilon(0.15));
  open_gains(*network, 0);
  CHECK(magnitude(network->forward(kImages, kTimes, {})) == doctest::Approx(1).epsilon(0.2));
}

TEST_CASE("EDM2's network computes the same however large its weights have grown") {
  const at::NoGradGuard no_grad;
  const auto network = edm2("", 5);
  open_gains(*network, 0.3);
  Condition condition;
  condition.labels = at::arange(8, at::kLong).remainder(5);
  const Tensor before = network->forward(kImages, kTimes, condition);
  double factor = 1;
  for (auto& [name, tensor] : network->parameters()) {
    if (name.ends_with("weight")) Tensor(tensor).mul_(factor = factor < 30 ? 1.7 * factor : 0.5);
  }
  // Up to the 1e-4 that keeps a weight of zeros finite.
  CHECK(max_relative_difference(network->forward(kImages, kTimes, condition), before) < 1e-2);
  // Larger ones have ever less influence; only their direction matters.
  CHECK(magnitude(network->forward(kImages, kTimes, condition)) == doctest::Approx(magnitude(before)).epsilon(0.01));
}

TEST_CASE("magnitudes stay near 1 after training steps that enlarge every weight") {
  const auto network = edm2();
  open_gains(*network, 0);
  for (int step = 0; step < 5; ++step) {
    const Tensor x = kImages.detach();
    for (auto& [name, tensor] : network->parameters()) Tensor(tensor).mutable_grad().reset();
    (network->forward(x, kTimes, {}) - x).square().mean().backward();
    const at::NoGradGuard no_grad;
    for (auto& [name, tensor] : network->parameters()) {
      // A weight is orthogonal to its gradient, since its length does not matter.
      if (!name.ends_with("weight") || tensor.grad().count_nonzero().item<std::int64_t>() == 0) continue;
      const double along = (tensor * tensor.grad()).sum().item<double>();
      CHECK_MESSAGE(std::abs(along) <= 2e-3 * (tensor.norm() * tensor.grad().norm()).item<double>() + 1e-9, name);
      const double before = tensor.norm().item<double>();
      Tensor(tensor).sub_(tensor.grad() * (0.01 * before / (tensor.grad().norm().item<double>() + 1e-12)));
      CHECK_MESSAGE(tensor.norm().item<double>() > before, name);
    }
  }
  const at::NoGradGuard no_grad;
  const Tensor middle = network->forward_with_taps(kImages, kTimes, {}, {"middle"}).taps.front().second;
  CHECK(magnitude(middle) == doctest::Approx(1).epsilon(0.3));
}

TEST_CASE("training puts EDM2's weights back to magnitude 1, and the network computes what it did") {
  const auto network = edm2("", 5);
  open_gains(*network, 0.3);
  std::map<std::string, Tensor> weights = by_name(network->parameters());
  std::erase_if(weights, [](const auto& item) { return item.second.dim() == 0; });
  const Tensor frozen = weights.at("out_conv.weight");
  double factor = 1;
  {
    const at::NoGradGuard no_grad;
    for (auto& [name, weight] : weights) weight.mul_(factor = factor < 30 ? 1.7 * factor : 0.5);
    Tensor(frozen).requires_grad_(false);
  }
  Condition condition;
  condition.labels = at::arange(8, at::kLong).remainder(5);
  const std::map<std::string, double> grown = [&] {
    std::map<std::string, double> result;
    for (const auto& [name, weight] : weights) result[name] = weight.norm().item<double>();
    return result;
  }();
  network->train(false);
  const Tensor before = network->forward(kImages, kTimes, condition).detach();
  for (const auto& [name, weight] : weights) CHECK(weight.norm().item<double>() == grown.at(name));

  network->train(true);
  const Tensor first = network->forward(kImages, kTimes, condition);
  CHECK(max_relative_difference(first.detach(), before) <
        1e-2);  // the 1e-4 of a norm, of some weights of magnitude 0.5
  std::map<std::string, Tensor> reset;
  for (const auto& [name, weight] : weights) {
    CAPTURE(name);
    reset[name] = weight.detach().clone();
    if (weight.is_same(frozen)) {
      CHECK(weight.norm().item<double>() == grown.at(name));
    } else {
      CHECK((weight.detach().flatten(1).square().mean(1).sqrt() - 1).abs().max().item<double>() < 2e-5);
    }
  }
  // The second evaluation finds them as they have to be, and one backward pass goes through both.
  const Tensor second = network->forward(kImages, kTimes, condition);
  CHECK(at::equal(first, second));
  for (const auto& [name, weight] : weights) CHECK_MESSAGE(at::equal(weight, reset.at(name)), name);
  (first + second).sum().backward();
}

TEST_CASE("each step turns EDM2's weights by the same angle, however many came before") {
  const auto network = edm2();
  open_gains(*network, 0.3);
  const double length = 0.2;  // of a step, as a part of the row's
  for (int step = 0; step < 12; ++step) {
    for (auto& [name, weight] : network->parameters()) Tensor(weight).mutable_grad().reset();
    (network->forward(kImages, kTimes, {}) - kImages).square().mean().backward();
    const at::NoGradGuard no_grad;
    for (auto& [name, weight] : network->parameters()) {
      if (weight.dim() == 0) continue;
      const Tensor rows = weight.flatten(1).to(at::kDouble), root = rows.norm(2, {1}, true);
      // At right angles to the row, but for the 1e-4 that keeps a norm of zero finite.
      Tensor tangent = weight.grad().flatten(1).to(at::kDouble);
      tangent = tangent - rows * ((rows * tangent).sum(1, true) / root.square());
      const Tensor norms = tangent.norm(2, {1}, true);
      const double unit = std::sqrt(static_cast<double>(rows.size(1)));
      const Tensor next = rows - tangent * (length * unit / norms.clamp_min(1e-300));
      // A step of `length` turns a row of length 1 by arctan(length).
      const Tensor cosine = (rows * next).sum(1) / (root.squeeze(1) * next.norm(2, {1}));
      const Tensor error = (cosine - 1 / std::sqrt(1 + length * length)).abs();
      CHECK_MESSAGE(error.masked_fill(norms.squeeze(1) == 0, 0).max().item<double>() < 1e-4, name, ", step ", step);
      Tensor(weight).copy_(next.view_as(weight));
    }
  }
}

TEST_CASE("without residual branches EDM2's features have mean square 1 in every pixel, before and after training") {
  const auto network = edm2("res_balance = 0.0\nattn_balance = 0.0\n");
  const auto largest_error = [&] {
    const at::NoGradGuard no_grad;
    const Tensor middle = network->forward_with_taps(kImages, kTimes, {}, {"middle"}).taps.front().second;
    return (middle.square().mean(1).sqrt() - 1).abs().max().item<double>();
  };
  const double eps = 1e-4;  // what keeps a norm of zero finite
  CHECK(largest_error() < 2 * eps);
  open_gains(*network, 0);
  for (int step = 0; step < 5; ++step) {
    (network->forward(kImages, kTimes, {}) - kImages).square().mean().backward();
    const at::NoGradGuard no_grad;
    for (auto& [name, weight] : network->parameters()) {
      const Tensor gradient = weight.grad();
      if (gradient.defined()) Tensor(weight).sub_(gradient, 0.1 / (gradient.abs().max().item<double>() + 1e-12));
      Tensor(weight).mutable_grad().reset();
    }
  }
  CHECK(largest_error() < 2 * eps);
}

TEST_CASE("EDM2's network accepts other sizes, and depends on time, class and position") {
  const at::NoGradGuard no_grad;
  const auto network = edm2("", 5);
  open_gains(*network, 0.5);
  Condition first, second;
  first.labels = at::zeros({8}, at::kLong);
  second.labels = at::ones({8}, at::kLong);
  const Tensor plain = network->forward(kImages, kTimes, first);
  CHECK_FALSE(at::allclose(plain, network->forward(kImages, kTimes, second), 1e-2));
  CHECK_FALSE(at::allclose(plain, network->forward(kImages, kTimes + 100, first), 1e-2));
  CHECK(network->forward(kImages.narrow(2, 0, 8), kTimes, first).sizes() == at::IntArrayRef({8, 3, 8, 16}));
  CHECK_THROWS_WITH_AS(network->forward(kImages.narrow(2, 0, 7), kTimes, first), doctest::Contains("multiples of 2"),
                       Error);
  CHECK_THROWS_WITH_AS(network->forward(kImages, kTimes, {}), doctest::Contains("was given no labels"), Error);
}

TEST_CASE("on the CPU EDM2's network gives its images the format asked for, and the numbers are those of auto") {
  for (const Input& input : {Input(), larger_input()}) {
    const Evaluation expected = evaluate(*small_edm2("dropout = 0.3\n"), input, with_dropout(3));
    const auto wide = small_edm2("dropout = 0.3\n");
    for (const auto& [name, parameter] : wide->parameters()) Tensor(parameter).set_data(parameter.to(at::kDouble));
    const Evaluation exact =
        evaluate(*wide, {input.x.to(at::kDouble), input.t, input.out_grad.to(at::kDouble)}, with_dropout(3));
    REQUIRE((exact.gradients[1].scalar_type() == at::kDouble));
    for (const auto& [word, format] :
         {std::pair("channels_last", at::MemoryFormat::ChannelsLast), {"contiguous", at::MemoryFormat::Contiguous}}) {
      CAPTURE(word);
      const auto network = small_edm2(text("dropout = 0.3\nmemory_format = \"", word, "\""));
      Evaluation found;
      const auto formats = formats_of_convolutions([&] { found = evaluate(*network, input, with_dropout(3)); });
      CHECK(formats.images == std::set{format});
      CHECK(formats.gradients == std::set{format});
      CHECK(found.out.is_contiguous());
      if (format == at::MemoryFormat::ChannelsLast) CHECK(is_equal(found, expected));
      CHECK(max_relative_difference(found.out, exact.out) < 1e-5);
      // 1e-5 by oneDNN; Winograd's convolutions multiply rounding errors, by 4 without fused multiply-adds.
      CHECK(gradient_difference(found, exact) < (format == at::MemoryFormat::Contiguous ? 1.5e-5 : 5e-5));
    }
  }
  Input input;
  const Tensor out = small_edm2()->forward(input.x, input.t, {});
  input.x = input.x.contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor last = small_edm2()->forward(input.x, input.t, {});
  CHECK(last.is_contiguous(at::MemoryFormat::ChannelsLast));
  CHECK(at::equal(last, out));
}

TEST_CASE("EDM2's layout recognises the network by names and shapes, and records what they do not show") {
  const auto layout = make<WeightLayout>("edm2", "", {});
  for (const char* options :
       {"channels = 16\nchannel_mult = [1, 2]\nattention_resolutions = [16]\nnum_head_channels = 16\n",
        "channels = 49\nchannel_mult = [1.0, 0.02040816326530612]\n"
        "attention_resolutions = []\nnum_head_channels = 1\nnum_res_blocks = 3\n"}) {
    CAPTURE(options);
    const std::string toml = text("type = \"edm2_unet\"\nconcat_balance = 0.25\n", options);
    const Value table = component(Backbone::kind, toml).table;
    Backbone::Spec spec = spec_of(5);
    spec.image.width = 32;
    spec.out_channels = 6;
    spec.condition.augment_size = 9;
    const auto network = factory().make<Backbone>({"edm2_unet", table}, spec);
    NamedTensors tensors;
    for (const auto& [name, tensor] : state(*network)) tensors.emplace_back(name, tensor.detach());
    const ForeignWeights written = layout->write({tensors, table, spec, "", {}});
    CHECK(written.recorded.as_table().size() == 5);
    CHECK(written.recorded.find("concat_balance")->as_number() == 0.25);
    CHECK(layout->recognise(written).confidence == 1);
    const BackboneWeights read = layout->read(written);
    CHECK(read.spec.image == spec.image);
    CHECK(read.spec.out_channels == 6);
    CHECK(read.spec.condition.num_classes == 5);
    CHECK(read.spec.condition.augment_size == 9);
    CHECK(read.remarks.empty());
    const auto again = make<Backbone>("edm2_unet", to_toml(read.options), read.spec);
    load_state(*again, read.tensors, "read");
    const at::NoGradGuard no_grad;
    open_gains(*network, 0.3);
    open_gains(*again, 0.3);
    Condition condition;
    condition.labels = at::arange(2, at::kLong);
    const Tensor x = seeded_normal(4, "images", {2, 3, 16, 32}, 1), t = at::linspace(-900, 900, 2, at::kFloat);
    CHECK(at::equal(network->forward(x, t, condition), again->forward(x, t, condition)));
  }
}

TEST_CASE("EDM2 options that contradict each other or the images are refused with values that would fit") {
  const auto refused = [](const std::string& options, const char* why) {
    CAPTURE(options);
    CHECK_THROWS_WITH_AS(make<Backbone>("edm2_unet", options, spec_of()), doctest::Contains(why), ConfigError);
  };
  refused("channel_mult = []\n", "channel_mult is empty");
  refused("channel_mult = [1, 1, 1, 1, 1, 1]\nattention_resolutions = []\n", "cannot be halved 5 times");
  refused("channels = 5\nchannel_mult = [1, 1.5]\n", "expected a whole number");
  refused("channels = 64\nchannel_mult = [1, 1]\nattention_resolutions = [4]\n", "the feature maps have 16, 8 pixels");
  refused("channels = 48\nchannel_mult = [1, 1]\nattention_resolutions = []\n",
          "num_head_channels = 32 does not divide the 48 channels of the attention at 8 pixels");
}
