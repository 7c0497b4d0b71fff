#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Names of theta's tensors that differ between two checkpoints; theta must be in both.
std::vector<std::string> different(const Checkpoint& a, const Checkpoint& b, const std::string& file) {
  const auto ours = tensors(a, file);
  const auto theirs = tensors(b, file);
  std::vector<std::string> result;
  int compared = 0;
  for (const auto& [name, tensor] : ours) {
    if (!name.starts_with("theta.")) continue;
    ++compared;
    if (!at::equal(tensor, theirs.at(name))) result.push_back(name);
  }
  REQUIRE(compared > 20);
  return result;
}

const std::string kLeakMetrics =
    "[[metrics]]\ntype = \"ssim\"\nweight = 5.0\n[[metrics]]\ntype = \"l1\"\nweight = 1.0\n";

}  // namespace

TEST_CASE("Cas-DM with metrics trains theta bitwise as DDPM-eps does") {
  const TemporaryFolder folder;
  const Checkpoint single = run(small_experiment(folder.path(), "single", single_head()));
  const Checkpoint cascade = run(small_experiment(folder.path(), "cascade", cascade_head() + kLeakMetrics));
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    CHECK_MESSAGE(different(cascade, single, file).empty(), file);
  }
}

TEST_CASE("with class labels, some of them dropped, the metric still does not reach theta") {
  const TemporaryFolder folder;
  const std::vector<std::string> labels = {"data.use_labels=true", "data.label_dropout=0.3"};
  const Checkpoint single = run(small_experiment(folder.path(), "single", single_head(), labels));
  const Checkpoint cascade = run(small_experiment(folder.path(), "cascade", cascade_head() + kLeakMetrics, labels));
  CHECK(different(cascade, single, "weights.safetensors").empty());
  // The five forms and "no label".
  CHECK(tensors(single, "weights.safetensors").at("theta.label_emb.weight").size(0) == 6);
  CHECK(single.num_classes() == 5);
}

TEST_CASE("a joint gradient norm couples theta to the metric, so the leak test can fail") {
  const TemporaryFolder folder;
  const std::vector<std::string> joint = {"optimizer.grouping=joint", "optimizer.clip_norm=0.01"};
  const Checkpoint single = run(small_experiment(folder.path(), "single", single_head(), joint));
  const Checkpoint cascade = run(small_experiment(folder.path(), "cascade", cascade_head() + kLeakMetrics, joint));
  CHECK_FALSE(different(cascade, single, "weights.safetensors").empty());
}

TEST_CASE("without the stop-gradient the metric reaches theta") {
  const TemporaryFolder folder;
  const Checkpoint single = run(small_experiment(folder.path(), "single", single_head()));
  const Checkpoint open =
      run(small_experiment(folder.path(), "open", cascade_head() + kLeakMetrics, {"head.detach_input=false"}));
  CHECK_FALSE(different(open, single, "weights.safetensors").empty());
}
