#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "casdm/backbone.h"
#include "casdm/error.h"
#include "casdm/parameter_maker.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr const char* kSmallDit = "patch = 2\nwidth = 16\ndepth = 3\nnum_heads = 2\n";

Backbone::Spec dit_spec(std::int64_t classes = 0, ImageShape image = {3, 8, 12}) {
  Backbone::Spec spec;
  spec.image = image;
  spec.out_channels = 5;
  spec.condition.num_classes = classes;
  spec.seed = 7;
  return spec;
}

/// Fills the parameters, so that none is zero.
std::shared_ptr<Backbone> small_dit(const std::string& options = "", const Backbone::Spec& spec = dit_spec()) {
  auto network = make<Backbone>("dit", kSmallDit + options, spec);
  fill_state(network->parameters());
  network->train(false);
  return network;
}

const Tensor kTime = at::arange(2, at::kFloat) * 400 + 7;

Tensor image(std::uint64_t seed = 1001, const ImageShape& shape = {3, 8, 12}) {
  return fill(seed, {2, shape.channels, shape.height, shape.width});
}

}  // namespace

TEST_CASE("a DiT starts as zero, and each of its blocks as the identity") {
  const at::NoGradGuard no_grad;
  const auto network = make<Backbone>("dit", kSmallDit, dit_spec());
  const BackboneOutput output = network->forward_with_taps(image(), kTime, {}, {"block.0", "block.2"});
  CHECK(output.sample.sizes() == at::IntArrayRef({2, 5, 8, 12}));
  CHECK(output.sample.count_nonzero().item<std::int64_t>() == 0);
  REQUIRE(output.taps.size() == 2);
  CHECK(output.taps[0].second.sizes() == at::IntArrayRef({2, 24, 16}));
  CHECK(at::equal(output.taps[0].second, output.taps[1].second));
}

TEST_CASE("without attention and MLPs a DiT is a linear map of each patch, whatever the patch") {
  const at::NoGradGuard no_grad;
  for (const std::int64_t patch : {1, 2, 4}) {
    CAPTURE(patch);
    const auto other =
        make<Backbone>("dit", "width = 16\ndepth = 1\nnum_heads = 2\npatch = " + std::to_string(patch), dit_spec());
    fill_state(other->parameters());
    std::map<std::string, Tensor> weights = by_name(state(*other));
    for (const std::string name : {"blocks.0.adaLN_modulation.1", "final_layer.adaLN_modulation.1"}) {
      weights.at(name + ".weight").zero_();
      weights.at(name + ".bias").zero_();
    }
    const Tensor x = image();
    const Tensor found = other->forward(x, kTime, {});
    // Patch (r, c), in the order rows, columns: from its pixels to a token, the token's norm, and from the token to
    // pixels (row, column, channel).
    for (const auto& [r, c] : {std::pair<std::int64_t, std::int64_t>{0, 0}, {1, 2}}) {
      const Tensor pixels = x.slice(2, r * patch, (r + 1) * patch).slice(3, c * patch, (c + 1) * patch).flatten(1);
      const Tensor place = weights.at("pos_embed")[0][r * (12 / patch) + c];
      const Tensor token =
          at::linear(pixels, weights.at("x_embedder.proj.weight").flatten(1), weights.at("x_embedder.proj.bias")) +
          place;
      const Tensor norm = (token - token.mean(1, true)) / (token.var(1, false, true) + 1e-6).sqrt();
      const Tensor out =
          at::linear(norm, weights.at("final_layer.linear.weight"), weights.at("final_layer.linear.bias"));
      const Tensor expected = out.view({2, patch, patch, 5}).permute({0, 3, 1, 2});
      const Tensor got = found.slice(2, r * patch, (r + 1) * patch).slice(3, c * patch, (c + 1) * patch);
      CHECK(max_relative_difference(got, expected) < 1e-5);
    }
  }
}

TEST_CASE("positions are encoded by sines and cosines, the column's first") {
  const auto network = small_dit();
  const Tensor place = by_name(network->buffers()).at("pos_embed")[0][1 * 6 + 4];  // row 1, column 4
  for (int i = 0; i < 4; ++i) {
    const double frequency = std::pow(10000.0, -i / 4.0);
    CHECK(place[i].item<double>() == doctest::Approx(std::sin(4 * frequency)).epsilon(1e-6));
    CHECK(place[4 + i].item<double>() == doctest::Approx(std::cos(4 * frequency)).epsilon(1e-6));
    CHECK(place[8 + i].item<double>() == doctest::Approx(std::sin(frequency)).epsilon(1e-6));
    CHECK(place[12 + i].item<double>() == doctest::Approx(std::cos(frequency)).epsilon(1e-6));
  }
}

TEST_CASE("diffusers' frequencies of the time differ by their number of steps") {
  const at::NoGradGuard no_grad;
  for (const auto& [choice, steps] : {std::pair("dit", 128), std::pair("diffusers", 127)}) {
    CAPTURE(choice);
    const auto network = small_dit("time_frequencies = \"" + std::string(choice) + "\"\n");
    std::map<std::string, Tensor> weights = by_name(network->parameters());
    // The first element of the time embedding is the last layer's shift of all pixels.
    for (auto& [name, tensor] : weights) tensor.zero_();
    by_name(network->buffers()).at("pos_embed").zero_();
    weights.at("t_embedder.mlp.0.weight")[0][50].fill_(1);  // cos of frequency 50
    weights.at("t_embedder.mlp.2.weight")[0][0].fill_(1);
    weights.at("final_layer.adaLN_modulation.1.weight")[0][0].fill_(1);
    weights.at("final_layer.linear.weight")[0][0].fill_(1);
    const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
    const double wave = std::cos(407 * std::pow(10000.0, -50.0 / steps));
    const double found = network->forward(image(), kTime, {})[1][0][0][0].item<double>();
    CHECK(found == doctest::Approx(silu(silu(wave))).epsilon(1e-4));
  }
}

TEST_CASE("without positions a DiT does not see how patches are arranged") {
  const at::NoGradGuard no_grad;
  const auto network = small_dit();
  const Tensor x = image();
  const Tensor moved = x.roll({2, 4}, {2, 3});
  CHECK_FALSE(
      at::allclose(network->forward(moved, kTime, {}), network->forward(x, kTime, {}).roll({2, 4}, {2, 3}), 1e-3));
  by_name(network->buffers()).at("pos_embed").zero_();
  CHECK(max_relative_difference(network->forward(moved, kTime, {}),
                                network->forward(x, kTime, {}).roll({2, 4}, {2, 3})) < 1e-5);
}

TEST_CASE("skips add the input of the counterpart in the first half, and a network without them is a special case") {
  const at::NoGradGuard no_grad;
  for (const std::int64_t depth : {2, 3, 4}) {
    CAPTURE(depth);
    const std::string options = "patch = 2\nwidth = 16\nnum_heads = 2\ndepth = " + std::to_string(depth) + "\n";
    const auto plain = make<Backbone>("dit", options, dit_spec());
    fill_state(plain->parameters());
    const auto skipping = make<Backbone>("dit", options + "skips = true\n", dit_spec());
    std::map<std::string, Tensor> weights = by_name(skipping->parameters());
    for (const auto& [name, tensor] : plain->parameters()) weights.at(name).copy_(tensor);
    std::int64_t joins = 0;
    for (auto& [name, tensor] : weights) {
      if (name.ends_with("skip_linear.bias")) tensor.zero_();
      if (!name.ends_with("skip_linear.weight")) continue;
      ++joins;
      tensor.copy_(at::cat({at::eye(16), at::zeros({16, 16})}, 1));
    }
    CHECK(joins == depth / 2);
    const Tensor alone = plain->forward(image(), kTime, {});
    CHECK(max_relative_difference(skipping->forward(image(), kTime, {}), alone) < 1e-6);
    // The last block adds the first one's input: the embedded patches, which do not depend on any block.
    weights.at("blocks." + std::to_string(depth - 1) + ".skip_linear.weight")
        .copy_(at::cat({at::zeros({16, 16}), at::eye(16)}, 1));
    const Tensor bypassed = skipping->forward(image(), kTime, {});
    weights.at("blocks.0.mlp.fc2.weight").mul_(3);
    CHECK(max_relative_difference(skipping->forward(image(), kTime, {}), bypassed) < 1e-6);
  }
}

TEST_CASE("a bottleneck as wide as a patch changes nothing but the number of weights") {
  const at::NoGradGuard no_grad;
  const auto plain = small_dit();
  const auto reduced = small_dit("bottleneck = 12\n");
  std::map<std::string, Tensor> weights = by_name(reduced->parameters());
  for (const auto& [name, tensor] : plain->parameters()) {
    if (!name.starts_with("x_embedder")) weights.at(name).copy_(tensor);
  }
  const std::map<std::string, Tensor> given = by_name(plain->parameters());
  weights.at("x_embedder.proj1.weight").copy_(at::eye(12).view({12, 3, 2, 2}));
  weights.at("x_embedder.proj2.weight").copy_(given.at("x_embedder.proj.weight").view({16, 12, 1, 1}));
  weights.at("x_embedder.proj2.bias").copy_(given.at("x_embedder.proj.bias"));
  CHECK(max_relative_difference(reduced->forward(image(), kTime, {}), plain->forward(image(), kTime, {})) < 1e-5);
}

TEST_CASE("a DiT's dropout repeats with its seeds, is separate for each image, and is off in evaluation") {
  const at::NoGradGuard no_grad;
  const auto network = small_dit("dropout = 0.3\n");
  const auto output = [&](std::vector<std::uint64_t> seeds) {
    Condition condition;
    condition.dropout.seeds = std::move(seeds);
    return network->forward(image(), kTime, condition);
  };
  CHECK(at::equal(output({1, 2}), output({})));
  network->train(true);
  CHECK(at::equal(output({1, 2}), output({1, 2})));
  CHECK_FALSE(at::equal(output({1, 2}), output({})));
  CHECK(at::equal(output({1, 2})[1], output({3, 2})[1]));
  CHECK_FALSE(at::equal(output({1, 2})[0], output({3, 2})[0]));
}

TEST_CASE("DiT options that contradict each other or the images are refused with values that would fit") {
  const auto refused = [](const std::string& options, const char* why, const Backbone::Spec& spec = dit_spec()) {
    CAPTURE(options);
    CHECK_THROWS_WITH_AS(make<Backbone>("dit", options, spec), doctest::Contains(why), ConfigError);
  };
  refused("patch = 3\n", "patch = 3 does not divide images of 8 x 12 pixels");
  refused("patch = 8\n", "patch = 8 does not divide images of 8 x 12 pixels");
  refused("patch = 33\n", "patch");
  refused("patch = 4\nwidth = 16\nnum_heads = 3\n", "num_heads = 3 does not divide width = 16");
  refused("patch = 4\nwidth = 18\nnum_heads = 3\n", "expected a multiple of 4");
  refused("patch = 4\nwidth = 16\nnum_heads = 2\nmlp_ratio = 0.01\n", "mlp_ratio = 0.01");
  refused("dropout = 1.0\n", "dropout");
}

TEST_CASE("a DiT refuses images, times and conditions that do not match its spec") {
  const auto network = small_dit();
  const auto labelled = small_dit("", dit_spec(4));
  Condition labels;
  labels.labels = at::ones({2}, at::kLong);
  CHECK_THROWS_WITH_AS(network->forward(image(1, {3, 8, 8}), kTime, {}), doctest::Contains("[B, 3, 8, 12]"), Error);
  CHECK_THROWS_WITH_AS(network->forward(image(), kTime.slice(0, 0, 1), {}), doctest::Contains("one timestep per image"),
                       Error);
  CHECK_THROWS_WITH_AS(network->forward(image(), kTime, labels), doctest::Contains("unconditional"), Error);
  CHECK_THROWS_WITH_AS(labelled->forward(image(), kTime, {}), doctest::Contains("was given no labels"), Error);
  CHECK_THROWS_WITH_AS(network->forward_with_taps(image(), kTime, {}, {"block.3"}), doctest::Contains("block.2"),
                       ConfigError);
}
