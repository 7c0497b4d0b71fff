#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kMeasuredHead = cascade_head() + "[[metrics]]\ntype = \"l1\"\n";

std::vector<std::string> lowered(bool is_checkpointed, const std::string& total_images = "32") {
  const std::string value = is_checkpointed ? "true" : "false";
  return {"run.precision=bf16",           "head.theta.checkpoint=" + value,
          "head.phi.checkpoint=" + value, "train.total_images=" + total_images,
          "log.sample_every_images=16",   "log.sample_count=2"};
}

/// All with the same name, since a grid's text says which run drew it.
LoadedExperiment in(const std::filesystem::path& folder, const std::vector<std::string>& overrides) {
  return small_experiment(folder, "run", kMeasuredHead, overrides);
}

}  // namespace

TEST_CASE("bf16 with gradient checkpointing trains and draws bitwise as without, whole or resumed") {
  const TemporaryFolder folder;
  const std::filesystem::path plain = folder.path() / "plain", whole = folder.path() / "whole";
  const std::filesystem::path parts = folder.path() / "parts";
  run(in(plain, lowered(false)));
  run(in(whole, lowered(true)));
  const Checkpoint half = run(in(parts, lowered(true, "20")));
  resume(in(parts, lowered(true)), half);

  const std::string last = "run/checkpoints/000000000032/";
  for (const std::string& file :
       {last + "weights.safetensors", last + "ema.safetensors", last + "optimizer.safetensors",
        std::string("run/samples/16.png"), std::string("run/samples/32.png")}) {
    const std::string expected = sha256_of_file(plain / file);
    CHECK_MESSAGE(sha256_of_file(whole / file) == expected, file);
    CHECK_MESSAGE(sha256_of_file(parts / file) == expected, file);
  }
}

TEST_CASE("on the CPU tf32 is fp32, bit for bit") {
  const TemporaryFolder folder;
  const auto weights = [&](const std::string& precision) {
    const std::vector<std::string> settings = {"run.precision=" + precision, "train.total_images=8"};
    return tensors(run(small_experiment(folder.path(), precision, kMeasuredHead, settings)), "weights.safetensors");
  };
  const auto expected = weights("fp32"), found = weights("tf32");
  for (const auto& [name, tensor] : expected) CHECK_MESSAGE(at::equal(found.at(name), tensor), name);
}

TEST_CASE("a device is named by its type, with its number if there are several") {
  const TemporaryFolder folder;
  const auto named = [&](const std::string& device) {
    return small_experiment(folder.path(), "run", kMeasuredHead, {"run.device=" + device}).options.run.device;
  };
  CHECK(named("cuda:1") == "cuda:1");
  for (const char* wrong : {"gpu", "cuda:", "cuda:-1", "cuda1", "cpu:0"}) {
    CHECK_THROWS_WITH_AS(named(wrong), doctest::Contains("run.device: expected a string of the form auto|cpu|cuda"),
                         ConfigError);
  }
}
