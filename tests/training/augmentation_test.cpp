#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include "framework/sampling/generate.h"
#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kAugmentation = "[augmentation]\ntype = \"edm\"\np = 0.5\n";

bool same_files(const Checkpoint& a, const Checkpoint& b) {
  bool is_same = true;
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    is_same = is_same && sha256_of_file(a.path() / file) == sha256_of_file(b.path() / file);
  }
  return is_same;
}

}  // namespace

TEST_CASE("an augmented run, stopped and resumed, is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  const std::string toml = cascade_head() + kAugmentation;
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", toml));
  const Checkpoint half = run(small_experiment(folder.path(), "parts", toml, {"train.total_images=12"}));
  RunFolder rest = RunFolder::open(folder.path() / "parts");
  train(small_experiment(folder.path(), "parts", toml), rest, half);
  CHECK(same_files(Checkpoint::open(folder.path() / "parts"), whole));
}

TEST_CASE("with an augmentation every network learns its labels") {
  const TemporaryFolder folder;
  const auto weights =
      tensors(run(small_experiment(folder.path(), "run", cascade_head() + kAugmentation)), "weights.safetensors");
  for (const char* name : {"theta.augment_emb.weight", "phi.augment_emb.weight"}) {
    REQUIRE(weights.contains(name));
    CHECK(weights.at(name).sizes() == at::IntArrayRef({32, 9}));
    CHECK(weights.at(name).abs().max().item<double>() > 0);
  }
}

TEST_CASE("an augmentation that changes nothing and has no labels leaves the run unchanged") {
  const TemporaryFolder folder;
  const std::string nothing =
      "[augmentation]\ntype = \"edm\"\nxflip = 0\nyflip = 0\nscale = 0\nrotate_frac = 0\naniso = 0\ntranslate_frac = "
      "0\n";
  const Checkpoint none = run(small_experiment(folder.path(), "none", single_head()));
  const Checkpoint idle = run(small_experiment(folder.path(), "idle", single_head() + nothing));
  CHECK(same_files(none, idle));
  const Checkpoint flipped = run(small_experiment(folder.path(), "flipped", single_head() + kAugmentation));
  CHECK_FALSE(same_files(none, flipped));
}

TEST_CASE("sampling from an augmented run asks for images without augmentation") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", single_head() + kAugmentation);
  const Checkpoint trained = run(experiment);
  const Model model = make_model(experiment, 0);
  trained.load_weights(model.modules, /*ema=*/"ema");
  GenerateOptions options;
  options.count = 2;
  options.image_size = 16;
  const Tensor images = generate(model, options);
  CHECK(images.isfinite().all().item<bool>());

  // Without the linear map of the labels nothing changes: it was not used.
  at::NoGradGuard no_grad;
  for (auto& [name, parameter] : model.modules[0].module->parameters()) {
    if (name == "augment_emb.weight") Tensor(parameter).fill_(100);
  }
  CHECK(at::equal(generate(model, options), images));
}
