#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/text.h"
#include "cuda/device.h"
#include "framework/cost/estimate.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kHead = cascade_head() + R"(
[[metrics]]
type = "ssim"
weight = 5.0
t_range = [0.0, 0.7]
[[metrics]]
type = "st_lpips"
net = "alexnet"
weight = 1.0
)";
const std::vector<std::string> kLarger = {"train.batch_size=8", "train.total_images=64", "checkpoint.every_images=32"};
const std::string kFiles[] = {"weights.safetensors", "optimizer.safetensors", "ema.safetensors"};

std::vector<std::string> with(std::vector<std::string> settings) {
  settings.insert(settings.begin(), kLarger.begin(), kLarger.end());
  return on_cuda(settings);
}

/// Names of the tensors that differ; if `prefix` is given, only those that begin with it.
std::vector<std::string> different(const Checkpoint& a, const Checkpoint& b, const std::string& prefix = "") {
  std::vector<std::string> result;
  for (const std::string& file : kFiles) {
    const auto theirs = tensors(b, file);
    std::size_t compared = 0;
    for (const auto& [name, tensor] : tensors(a, file)) {
      if (!name.starts_with(prefix)) continue;
      ++compared;
      if (!at::equal(tensor, theirs.at(name))) result.push_back(text(file, ": ", name));
    }
    REQUIRE(compared > 20);
  }
  return result;
}

std::string some_of(const std::vector<std::string>& names) {
  return text(names.size(), " differ", names.empty() ? "" : text(", among them ", names.front()));
}

}  // namespace

TEST_CASE("on CUDA a run repeats bit for bit, and so does a resumed one, in every precision") {
  const TemporaryFolder folder;
  for (const std::string precision : {"fp32", "tf32", "bf16", "fp16"}) {
    const std::vector<std::string> whole = with({"run.precision=" + precision});
    const Checkpoint once = run(small_experiment(folder.path(), precision + "-once", kHead, whole));
    const Checkpoint again = run(small_experiment(folder.path(), precision + "-again", kHead, whole));
    const std::vector<std::string> of_again = different(once, again);
    CHECK_MESSAGE(of_again.empty(), precision << ", repeated: " << some_of(of_again));
    const Checkpoint half = run(small_experiment(folder.path(), precision + "-parts", kHead,
                                                 with({"run.precision=" + precision, "train.total_images=32"})));
    const std::vector<std::string> of_resumed =
        different(once, resume(small_experiment(folder.path(), precision + "-parts", kHead, whole), half));
    CHECK_MESSAGE(of_resumed.empty(), precision << ", resumed: " << some_of(of_resumed));
  }
}

TEST_CASE("on CUDA Cas-DM with metrics trains theta bitwise as DDPM-eps does") {
  const TemporaryFolder folder;
  for (const std::string precision : {"fp32", "bf16"}) {
    const std::vector<std::string> settings = with({"run.precision=" + precision});
    const Checkpoint single = run(small_experiment(folder.path(), precision + "-single", single_head(), settings));
    const Checkpoint cascade = run(small_experiment(folder.path(), precision + "-cascade", kHead, settings));
    const std::vector<std::string> leaked = different(single, cascade, "theta.");
    CHECK_MESSAGE(leaked.empty(), precision << ": " << some_of(leaked));
  }
}

TEST_CASE("on CUDA steps that are replayed from a graph train the same bits") {
  const TemporaryFolder folder;
  for (const std::string precision : {"fp32", "bf16"}) {
    const auto trained = [&](const std::string& graph) {
      return run(small_experiment(
          folder.path(), precision + graph, kHead,
          with({"run.precision=" + precision, "train.cuda_graph=" + graph, "metrics.0.t_range=[0.0, 1.0]"})));
    };
    const std::vector<std::string> changed = different(trained("off"), trained("on"));
    CHECK_MESSAGE(changed.empty(), precision << ": " << some_of(changed));
  }
}

TEST_CASE("on CUDA the copy of a checkpoint is in the host's memory, and counted there") {
  const TemporaryFolder folder;
  const CostEstimate cost = estimate_cost(small_experiment(folder.path(), "cost", kHead, on_cuda({})), 1, [](auto&) {});
  CHECK(cost.memory.checkpoint == 0);
  CHECK(cost.checkpoint_on_host > cost.memory.weights + cost.memory.optimizer);
  CHECK(describe(cost).find("memory of the host: ") != std::string::npos);
}

TEST_CASE("on CUDA gradient checkpointing changes no bit") {
  const TemporaryFolder folder;
  for (const std::string precision : {"fp32", "bf16", "fp16"}) {
    std::vector<std::string> settings = with({"run.precision=" + precision});
    const Checkpoint plain = run(small_experiment(folder.path(), precision + "-plain", kHead, settings));
    settings.insert(settings.end(), {"head.theta.checkpoint=true", "head.phi.checkpoint=true"});
    const Checkpoint kept = run(small_experiment(folder.path(), precision + "-kept", kHead, settings));
    CHECK_MESSAGE(different(plain, kept).empty(), precision << ": " << some_of(different(plain, kept)));
  }
}

TEST_CASE("20 steps of Cas-DM and of DDPM on CUDA stay close to those on the CPU and lower the loss") {
  const TemporaryFolder folder;
  const std::vector<std::string> settings = {"train.total_images=160", "train.batch_size=8", "log.every_images=8"};
  const std::pair<std::string, std::string> heads[] = {{"cascade", kHead}, {"single", single_head()}};
  for (const auto& [name, head] : heads) {
    run(small_experiment(folder.path(), name + "-cpu", head, settings));
    run(small_experiment(folder.path(), name + "-cuda", head, on_cuda(settings)));
    const std::vector<Value> cpu = records(folder.path() / (name + "-cpu"));
    const std::vector<Value> gpu = records(folder.path() / (name + "-cuda"));
    REQUIRE(cpu.size() == 20);
    REQUIRE(gpu.size() == 20);
    double largest = 0;
    for (std::size_t i = 0; i < cpu.size(); ++i) largest = std::max(largest, difference(cpu[i], gpu[i]).loss);
    CHECK_MESSAGE(difference(cpu.front(), gpu.front()).loss < 2e-5, name);
    // Rounding errors grow with the steps; two runs with different noise would differ by tens of per cent.
    CHECK_MESSAGE(largest < 0.03, name << ": up to " << largest);
    MESSAGE(name << ": losses of 20 steps differ by up to " << largest);
    const auto eps = [](const Value& line) { return line.find("loss")->find("eps")->find("mean")->as_number(); };
    CHECK(eps(gpu.back()) < eps(gpu.front()));
  }
}

TEST_CASE("an fp16 overflow of phi halves only phi's loss scale, and the run continues") {
  const TemporaryFolder folder;
  // About 10^9 times the largest fp16 number.
  const std::vector<std::string> settings = with({"run.precision=fp16", "metrics=[{type=\"l1\", weight=1e9}]"});
  const Checkpoint checkpoint = run(small_experiment(folder.path(), "overflow", cascade_head(), settings));
  const Value& scales = *checkpoint.numbers().find("loss_scales");
  CHECK(scales.find("theta")->find("scale")->as_number() == 65536);
  CHECK(scales.find("phi")->find("scale")->as_number() < 65536);
}
