#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "backbones/networks.h"
#include "casdm/error.h"
#include "support/observed.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

using State = std::map<std::string, Tensor>;

State fresh_state(const std::string& options, Backbone::Spec spec = {}) {
  spec.image.height = spec.image.width = 8;
  const NamedTensors parameters = make<Backbone>("unet", kSmall + options, spec)->parameters();
  return {parameters.begin(), parameters.end()};
}

Tensor output_of(Backbone& network, const Input& input = {}, const Condition& condition = {}) {
  return network.forward(input.x, input.t, condition).detach();
}

}  // namespace

TEST_CASE("the last layer and the class table do not count as matrices inside the network") {
  Backbone::Spec spec;
  spec.image.height = spec.image.width = 8;
  spec.condition.num_classes = 3;
  const auto network = make<Backbone>("unet", kSmall, spec);
  std::map<ParameterRole, std::vector<std::string>> declared;
  for (const auto& [name, parameter] : network->parameters()) declared[network->role(name)].push_back(name);
  CHECK(declared[ParameterRole::output] == std::vector<std::string>{"out.2.weight"});
  CHECK(declared[ParameterRole::embedding] == std::vector<std::string>{"label_emb.weight"});
  CHECK(declared.size() == 3);
}

TEST_CASE("weights depend only on the seed and their own names") {
  const State first = fresh_state("");
  const State again = fresh_state("");
  const State other = fresh_state("", {.seed = 1});
  const State wider = fresh_state("resblock_updown = true", {.condition = {.num_classes = 5}});
  int shared = 0;
  for (const auto& [name, value] : first) {
    CAPTURE(name);
    CHECK(at::equal(value, again.at(name)));
    const bool is_random = value.min().item<float>() != value.max().item<float>();
    if (is_random) CHECK_FALSE(at::equal(value, other.at(name)));
    const auto match = wider.find(name);
    if (match == wider.end() || match->second.sizes() != value.sizes()) continue;
    CHECK(at::equal(value, match->second));
    ++shared;
  }
  CHECK(shared > 40);
}

TEST_CASE("weights are initialised as in PyTorch and the reference") {
  const State state = fresh_state("", {.condition = {.num_classes = 50}});
  const auto largest = [&](const char* name) { return state.at(name).abs().max().item<double>(); };
  // U(-b, b) of n values comes within 1 % of b unless (.99)^n happens: impossible for these sizes.
  const double conv = 1 / std::sqrt(32.0 * 9);
  CHECK(largest("input_blocks.1.0.in_layers.2.weight") <= conv);
  CHECK(largest("input_blocks.1.0.in_layers.2.weight") > 0.99 * conv);
  CHECK(largest("input_blocks.1.0.in_layers.2.bias") <= conv);
  CHECK(largest("time_embed.0.weight") <= 1 / std::sqrt(32.0));
  CHECK(largest("middle_block.1.qkv.weight") <= 1 / 8.0);
  CHECK(largest("middle_block.1.qkv.weight") > 0.99 / 8.0);
  const Tensor labels = state.at("label_emb.weight");
  CHECK(std::abs(labels.mean().item<double>()) < 0.05);  // 4 standard errors of 6400 draws
  CHECK(labels.std().item<double>() == doctest::Approx(1.0).epsilon(0.04));
  for (const char* zero : {"out.2", "input_blocks.1.0.out_layers.3", "middle_block.1.proj_out"}) {
    CHECK(largest((std::string(zero) + ".weight").c_str()) == 0.0);
    CHECK(largest((std::string(zero) + ".bias").c_str()) == 0.0);
  }
  CHECK(at::equal(state.at("out.0.weight"), at::ones({32})));
  CHECK(at::equal(state.at("out.0.bias"), at::zeros({32})));
}

TEST_CASE("names are unique, and handles share storage with the network") {
  const auto network = small_unet();
  std::set<std::string> names;
  for (const auto& [name, value] : network->parameters()) names.insert(name);
  CHECK(names.size() == network->parameters().size());
  const Tensor before = output_of(*network);
  for (auto& [name, value] : network->parameters()) {
    if (name == "out.2.bias") value.detach().add_(1.0);
  }
  CHECK(max_relative_difference(output_of(*network) - before, at::ones_like(before)) < 1e-5);
}

TEST_CASE("every parameter receives a gradient, whatever the options") {
  const std::string variants[] = {"",
                                  "use_scale_shift_norm = false",
                                  "resblock_updown = true\ngroups = 8",
                                  "conv_resample = false",
                                  "attention_order = \"new\"\nnum_head_channels = 16",
                                  "num_heads = 2\nnum_heads_upsample = 4",
                                  "checkpoint = true"};
  for (const std::string& options : variants) {
    CAPTURE(options);
    // 16 groups: with one channel per group, biases before a norm have no effect and no gradient.
    const std::string groups = options.find("groups") == std::string::npos ? "\ngroups = 16" : "";
    const auto network = small_unet(options + groups, {.condition = {.num_classes = 3}});
    Condition condition;
    condition.labels = at::arange(3, at::kLong);
    const Evaluation result = evaluate(*network, {}, condition);
    CHECK(result.out.sizes() == at::IntArrayRef({3, 3, 8, 8}));
    const NamedTensors parameters = network->parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      CAPTURE(parameters[i].first);
      const Tensor& gradient = result.gradients[i + 1];
      REQUIRE(gradient.defined());
      CHECK(gradient.isfinite().all().item<bool>());
      CHECK(gradient.abs().max().item<double>() > 1e-6);
    }
  }
}

TEST_CASE("the images of a batch do not affect each other") {
  const auto network = small_unet();
  const Input all;
  const Tensor together = output_of(*network, all);
  for (std::int64_t i = 0; i < 3; ++i) {
    Input one;
    one.x = all.x.narrow(0, i, 1);
    one.t = all.t.narrow(0, i, 1);
    // 1e-5: the convolutions may sum in a different order for another batch size.
    CHECK(max_relative_difference(output_of(*network, one), together.narrow(0, i, 1)) < 1e-5);
  }
}

TEST_CASE("the memory format of x changes nothing, and the output has it") {
  const auto network = small_unet();
  const Tensor expected = output_of(*network);
  CHECK(expected.is_contiguous());
  Input input;
  input.x = input.x.contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor out = output_of(*network, input);
  CHECK(out.is_contiguous(at::MemoryFormat::ChannelsLast));
  CHECK(at::equal(out, expected));
}

TEST_CASE("images of one channel are channels-last inside, too") {
  Backbone::Spec spec;
  spec.image = ImageShape::square(1, 8);
  spec.out_channels = 1;
  const auto network = make<Backbone>("unet", kSmall, spec);
  Input input;
  input.x = fill(1001, {3, 1, 8, 8});
  CHECK(formats_of_convolutions([&] { output_of(*network, input); }).images ==
        std::set{at::MemoryFormat::ChannelsLast});
}

TEST_CASE("on the CPU the format asked for is that of the images inside, and the numbers are those of auto") {
  const Condition condition = with_dropout(3);
  const std::string variants[] = {"dropout = 0.3\n", "use_scale_shift_norm = false\nresblock_updown = true\n"};
  for (const std::string& options : variants) {
    CAPTURE(options);
    const Evaluation expected = evaluate(*small_unet(options), {}, condition);
    for (const std::string checkpoint : {"", "checkpoint = true\n"}) {
      CHECK(is_equal(evaluate(*small_unet(options + checkpoint + "memory_format = \"channels_last\""), {}, condition),
                     expected));
      const auto network = small_unet(options + checkpoint + "memory_format = \"contiguous\"");
      Evaluation found;
      const auto formats = formats_of_convolutions([&] { found = evaluate(*network, {}, condition); });
      CHECK(formats.images == std::set{at::MemoryFormat::Contiguous});
      CHECK(found.out.is_contiguous());
      // LibTorch's norm in place of a fused one: as in the tests of numerics.
      CHECK(max_relative_difference(found.out, expected.out) < 1e-5);
      CHECK(gradient_difference(found, expected) < 1e-5);
    }
  }
}

TEST_CASE("images may have a size other than the one in the spec") {
  const auto network = small_unet();
  Input input;
  input.x = fill(7, {3, 3, 12, 6});
  CHECK(output_of(*network, input).sizes() == at::IntArrayRef({3, 3, 12, 6}));
  input.x = fill(7, {3, 3, 12, 5});
  CHECK_THROWS_AS(output_of(*network, input), Error);
  CHECK_THROWS_WITH(output_of(*network, input), doctest::Contains("multiples of 2"));
  input.x = fill(7, {3, 1, 8, 8});
  CHECK_THROWS_WITH(output_of(*network, input), doctest::Contains("[B, 3, H, W]"));
  input = {};
  input.t = at::zeros({2});
  CHECK_THROWS_WITH(output_of(*network, input), doctest::Contains("one timestep per image"));
}

TEST_CASE("timestep_scale multiplies the time") {
  const auto plain = small_unet();
  const auto scaled = small_unet("timestep_scale = 0.25");
  Input quarter;
  quarter.t = quarter.t * 0.25;
  CHECK(at::equal(output_of(*scaled), output_of(*plain, quarter)));
  CHECK(max_relative_difference(output_of(*scaled), output_of(*plain)) > 1e-3);
}

TEST_CASE("classes change the output and are required") {
  const auto network = small_unet("", {.condition = {.num_classes = 4}});
  Condition condition;
  condition.labels = at::zeros({3}, at::kLong);
  const Tensor zero = output_of(*network, {}, condition);
  condition.labels = at::arange(3, at::kLong);
  const Tensor mixed = output_of(*network, {}, condition);
  CHECK(at::equal(mixed[0], zero[0]));
  CHECK(max_relative_difference(mixed[1], zero[1]) > 1e-3);
  CHECK_THROWS_WITH(output_of(*network), doctest::Contains("given no labels"));
  CHECK_THROWS_WITH(output_of(*small_unet(), {}, condition), doctest::Contains("unconditional"));
}

TEST_CASE("the attention orders differ by a permutation of the projection") {
  const std::string heads = "num_heads = 4\n";
  const auto legacy = small_unet(heads);
  const auto reordered = small_unet(heads + "attention_order = \"new\"");
  CHECK(max_relative_difference(output_of(*reordered), output_of(*legacy)) > 1e-3);
  for (auto& [name, value] : reordered->parameters()) {
    if (name.find("qkv") == std::string::npos) continue;
    const std::int64_t rows = value.size(0);  // (head, qkv, channel) to (qkv, head, channel)
    value.detach().copy_(value.detach().reshape({4, 3, rows / 12, -1}).transpose(0, 1).reshape(value.sizes()).clone());
  }
  CHECK(max_relative_difference(output_of(*reordered), output_of(*legacy)) < 1e-5);
}

TEST_CASE("num_heads_upsample applies only to the decoder") {
  const Tensor one = output_of(*small_unet("num_heads = 1"));
  const Tensor four = output_of(*small_unet("num_heads = 4"));
  const Tensor mixed = output_of(*small_unet("num_heads = 1\nnum_heads_upsample = 4"));
  CHECK(at::equal(output_of(*small_unet("num_heads = 4\nnum_heads_upsample = 4")), four));
  CHECK(max_relative_difference(mixed, one) > 1e-3);
  CHECK(max_relative_difference(mixed, four) > 1e-3);
}

TEST_CASE("augmentation labels shift the embedding linearly, and zeros are the same as none") {
  const auto network = small_unet("", {.condition = {.augment_size = 9}});
  const Tensor told = fill(5, {3, 9});
  Condition condition;
  condition.augment = told;
  const Tensor plain = output_of(*network);
  CHECK_FALSE(at::equal(output_of(*network, {}, condition), plain));
  condition.augment = at::zeros({3, 9});
  CHECK(at::equal(output_of(*network, {}, condition), plain));

  // Adding W a to the embedding is adding W a to the bias of its last layer, for each image separately.
  Tensor map;
  Tensor bias;
  for (auto& [name, parameter] : network->parameters()) {
    if (name == "augment_emb.weight") map = parameter;
    if (name == "time_embed.2.bias") bias = parameter;
  }
  REQUIRE(map.sizes() == at::IntArrayRef({128, 9}));
  condition.augment = told[1].expand({3, 9});
  const Tensor expected = output_of(*network, {}, condition);
  {
    at::NoGradGuard no_grad;
    bias.add_(at::linear(told[1], map));
  }
  CHECK(max_relative_difference(output_of(*network), expected) < 1e-5);
}

TEST_CASE("a network with augmentation labels starts the same as one without") {
  const State plain = fresh_state("");
  const State told = fresh_state("", {.condition = {.augment_size = 9}});
  CHECK(told.size() == plain.size() + 1);
  for (const auto& [name, value] : plain) CHECK_MESSAGE(at::equal(told.at(name), value), name);
  CHECK(told.at("augment_emb.weight").abs().max().item<double>() == 0);
}

TEST_CASE("augmentation labels of another size are refused") {
  Condition condition;
  condition.augment = at::zeros({3, 9});
  CHECK_THROWS_WITH_AS(output_of(*small_unet(), {}, condition), doctest::Contains("augmentation labels of [3, 0]"),
                       Error);
  CHECK_THROWS_WITH_AS(output_of(*small_unet("", {.condition = {.augment_size = 4}}), {}, condition),
                       doctest::Contains("augmentation labels of [3, 4], got [3, 9]"), Error);
}
