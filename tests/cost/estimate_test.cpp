#include "framework/cost/estimate.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

CostEstimate cost_of(const std::string& toml, const std::vector<std::string>& overrides = {}, double longest = 20) {
  const TemporaryFolder folder;
  const CostEstimate cost =
      estimate_cost(small_experiment(folder.path(), "run", toml, overrides), longest, [](auto&) {});
  CHECK(std::filesystem::is_empty(folder.path()));
  return cost;
}

PartUsage part(const CostEstimate& cost, const std::string& name) {
  for (const PartUsage& usage : cost.usage) {
    if (usage.part == name) return usage;
  }
  FAIL("no part " << name);
  return {};
}

constexpr const char* kTwoMetrics = "[[metrics]]\ntype = \"ssim\"\n[[metrics]]\ntype = \"ssim\"\nname = \"other\"\n";

}  // namespace

TEST_CASE("each network and each metric has its products, also if two metrics are of one type") {
  const CostEstimate cost = cost_of(cascade_head() + kTwoMetrics);
  REQUIRE(cost.modules.size() >= 2);
  for (const ModuleSize& module : cost.modules) CHECK(module.parameters > 0);
  const PartUsage theta = part(cost, "theta"), phi = part(cost, "phi");
  CHECK(theta.forward > 0);
  CHECK(phi.forward >= theta.forward);  // the same network, with a mask as one more output
  CHECK(phi.forward < theta.forward * 11 / 10);
  // Each product has two gradients, but for the first convolution, whose images need none in theta.
  CHECK(theta.backward > theta.forward * 19 / 10);
  CHECK(theta.backward < theta.forward * 22 / 10);
  CHECK(part(cost, "metric.ssim").forward > 0);
  CHECK(part(cost, "metric.ssim").forward == part(cost, "metric.other").forward);
}

TEST_CASE("what several processes would divide is said, and counted whole") {
  const CostEstimate cost = cost_of(single_head(), {"train.shard_optimizer=true"});
  CHECK(cost.memory.optimizer > 0);
  CHECK(cost.memory.optimizer == cost_of(single_head()).memory.optimizer);
  const std::string words = describe(cost);
  CHECK_MESSAGE(words.find("each of n processes keeps about 1/n of the ") != std::string::npos, words);
  CHECK(describe(cost_of(single_head())).find("shard_optimizer") == std::string::npos);
}

TEST_CASE("products grow with the batch, and do not depend on the parts in which it is computed") {
  const std::int64_t four = part(cost_of(single_head()), "theta").forward;
  CHECK(part(cost_of(single_head(), {"train.batch_size=8"}), "theta").forward == 2 * four);
  const CostEstimate in_parts = cost_of(single_head(), {"train.batch_size=8", "train.accumulate=2"});
  CHECK(part(in_parts, "theta").forward == 2 * four);
  CHECK(in_parts.part_images == 4);
}

TEST_CASE("a network that computes its activations again in the backward pass multiplies more and keeps less") {
  const std::vector<std::string> large = {"train.batch_size=32"};
  const PartUsage kept = part(cost_of(single_head(), large), "theta");
  const PartUsage again = part(cost_of(single_head(), {large.front(), "head.theta.checkpoint=true"}), "theta");
  CHECK(again.forward == kept.forward);
  CHECK(again.backward > kept.backward + kept.forward / 2);
  CHECK(again.bytes < kept.bytes);
}

TEST_CASE("lasting memory is that of the parameters, once for each of its uses") {
  const CostEstimate cost = cost_of(single_head());
  const std::int64_t floats = 4 * cost.modules.front().parameters;
  CHECK(cost.memory.gradients >= floats);
  CHECK(cost.memory.gradients < floats + 4096);  // padding between tensors
  CHECK(cost.memory.averages >= floats);
  CHECK(cost.memory.averages < floats + 4096);
  CHECK(cost.memory.optimizer >= 2 * floats);
  CHECK(cost.memory.optimizer < 2 * floats + 8192);
  CHECK(cost.memory.images == 10000 * 3 * 16 * 16);
  const CostEstimate two = cost_of(single_head() + "[[ema.also]]\nname = \"slow\"\ndecay = 0.999\n");
  CHECK(two.memory.averages == 2 * cost.memory.averages);
}

TEST_CASE("what is written in the background counts once more, with the averages of snapshots") {
  const std::string average = "[[ema.also]]\nname = \"narrow\"\nsigma_rel = 0.05\n";
  const std::vector<std::string> settings = {"checkpoint.in_background=always"};
  const CostEstimate between = cost_of(single_head() + average),
                     background = cost_of(single_head() + average, settings);
  const MemoryCost& memory = background.memory;
  CHECK(between.memory.checkpoint == 0);
  // Copies have no padding between tensors.
  const std::int64_t state = memory.weights + memory.optimizer + memory.averages;
  CHECK(memory.checkpoint <= state);
  CHECK(memory.checkpoint > state - 5 * 4096);
  CHECK(memory.total() > memory.checkpoint + memory.weights + memory.optimizer + memory.averages + memory.gradients);
  CHECK(background.checkpoint_on_host == 0);
  const CostEstimate snapshots = cost_of(single_head() + average, {settings.front(), "ema.snapshot_every_images=1000"});
  CHECK(snapshots.memory.checkpoint > memory.checkpoint + 4 * background.modules.front().parameters - 1);
}

TEST_CASE("a metric that warms up, ends early, or acts in some steps only, costs what it costs on average") {
  const std::string ssim = "[[metrics]]\ntype = \"ssim\"\n";
  const PartUsage always = part(cost_of(single_head() + ssim), "metric.ssim");
  const PartUsage warmed = part(cost_of(single_head() + ssim, {"metrics.0.warmup_images=16"}), "metric.ssim");
  CHECK(warmed.forward == always.forward);
  CHECK(warmed.backward == always.backward);
  const PartUsage ending = part(cost_of(single_head() + ssim, {"metrics.0.until_images=4"}), "metric.ssim");
  CHECK(ending.forward == always.forward);
  const PartUsage half = part(cost_of(single_head() + ssim, {"metrics.0.every=2"}), "metric.ssim");
  CHECK(half.forward == always.forward / 2);
}

TEST_CASE("with little time a smaller batch is measured, and the rest is extrapolated") {
  const CostEstimate whole = cost_of(single_head(), {"train.batch_size=64"}, 1000);
  CHECK(whole.measured_images == 64);
  const CostEstimate partial = cost_of(single_head(), {"train.batch_size=64"}, 0);
  CHECK(partial.measured_images == 1);
  CHECK(part(partial, "theta").forward == part(whole, "theta").forward);
  CHECK(describe(partial).find("extrapolated from 1 step of 1 image each") != std::string::npos);
  CHECK(describe(partial).find("a rough estimate") != std::string::npos);
  CHECK(describe(whole).find("a rough estimate") == std::string::npos);
  const double ratio = static_cast<double>(partial.memory.activations) / static_cast<double>(whole.memory.activations);
  CHECK(ratio > 0.8);
  CHECK(ratio < 2);  // what does not depend on the batch is multiplied, too
}

TEST_CASE("a line through two measurements keeps the one that it reaches, and never falls below 0") {
  CHECK(extrapolated(2, 10, 4, 16, 4) == 16);
  CHECK(extrapolated(2, 10, 4, 16, 10) == 34);
  CHECK(extrapolated(4, 16, 4, 16, 8) == 32);
  CHECK(extrapolated(2, 10, 4, 4, 10) == 0);
}

TEST_CASE("a cost reads the same for programs") {
  const CostEstimate cost = cost_of(single_head());
  const Value value = to_value(cost);
  CHECK(value.find("parts")->find("theta")->find("parameters")->as_integer() == cost.modules.front().parameters);
  CHECK(value.find("memory_bytes")->find("total")->as_integer() == cost.memory.total());
  CHECK(value.find("seconds")->find("steps")->as_integer() == 8);
  CHECK(cost.time.total == doctest::Approx(8 * cost.time.step));
}
