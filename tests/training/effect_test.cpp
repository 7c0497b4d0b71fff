#include "framework/training/effect.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "support/captured.h"
#include "support/messages.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

namespace {

const std::string kMetric = "[[metrics]]\ntype = \"l1\"\n";

/// The problem for which the experiment is refused; empty: none.
std::string refusal(const std::vector<std::string>& overrides, const std::string& toml = kMetric) {
  const TemporaryFolder folder;
  try {
    require_effect(small_experiment(folder.path(), "run", cascade_head() + toml, overrides).resolved);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

/// The warnings about the experiment.
std::vector<std::string> warnings(const std::vector<std::string>& overrides, const std::string& toml = kMetric) {
  const TemporaryFolder folder;
  return weak_settings(small_experiment(folder.path(), "run", cascade_head() + toml, overrides).options);
}

}  // namespace

TEST_CASE("a setting that would train nothing is refused with its key") {
  CHECK(refusal({}) == "");
  CHECK(contains(refusal({"ema.decay=1", "ema.warmup=false"}), "ema.decay: the average \"ema\" would keep"));
  CHECK(refusal({"ema.decay=1"}) == "");
  CHECK(contains(refusal({"ema.warmup=false"}, "[[ema.also]]\nname = \"slow\"\ndecay = 1.0\n"),
                 "ema.also.0.decay: the average \"slow\" would keep"));
  CHECK(contains(refusal({"optimizer.learning_rate=1e-46"}), "optimizer.learning_rate: 1e-46 is 0 in float32"));
  CHECK(refusal({"optimizer.learning_rate=1e-30"}) == "");
  CHECK(contains(refusal({"optimizer.clip_norm=1e-50"}), "optimizer.clip_norm: 1e-50 is 0 in float32"));
  CHECK(contains(refusal({"optimizer.clip_norm=1e39"}), "optimizer.clip_norm: 1e+39 is infinite in float32"));
  CHECK(refusal({"optimizer.clip_norm=0"}) == "");
  CHECK(contains(refusal({"metrics.0.weight=1e-46"}), "metrics.0.weight: 1e-46 is 0 in float32"));
  CHECK(refusal({"metrics.0.weight=0"}) == "");
  CHECK(contains(refusal({"optimizer.phi.learning_rate=1e-60"}), "optimizer.phi.learning_rate: 1e-60 is 0 in float32"));
  CHECK(contains(refusal({"optimizer.phi.clip_norm=1e-60"}), "optimizer.phi.clip_norm: 1e-60 is 0 in float32"));
  CHECK(contains(refusal({"head.weights.x0=1e-60"}), "head.weights.x0: 1e-60 is 0 in float32"));
  CHECK(contains(refusal({"optimizer.betas=[1e-60, 0.999]"}), "optimizer.betas.0: 1e-60 is 0 in float32"));
  CHECK(contains(refusal({"data.use_labels=true", "data.label_dropout=1"}), "data.label_dropout: every label"));
  CHECK(
      contains(refusal({}, "[[init]]\nmodule = \"theta\"\nfrom = \"a\"\n[[init]]\nmodule = \"theta\"\nfrom = \"b\"\n"),
               "init.1.module: init.0 is of the module \"theta\", too"));
}

TEST_CASE("all settings that would train nothing are refused together, before a run is trained") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(
      folder.path(), "run", single_head(), {"optimizer.learning_rate=1e-46", "ema.decay=1", "ema.warmup=false"});
  CHECK_THROWS_WITH_AS(run(experiment), doctest::Contains("2 problems:"), ConfigError);
}

TEST_CASE("a warm-up that the schedule cuts short gives a warning with the rate that is reached") {
  const std::vector<std::string> found = warnings({"optimizer.schedule=wsd", "optimizer.warmup_images=30"});
  REQUIRE(found.size() == 1);
  CHECK_MESSAGE(contains(found.front(),
                         "optimizer.warmup_images ends after \"wsd\" begins to fall, at 26 images: the learning rate "
                         "rises to 0.000833 of 0.001"),
                found.front());
  CHECK(warnings({"optimizer.schedule=wsd", "optimizer.warmup_images=20"}).empty());
  CHECK(warnings({"optimizer.schedule=linear", "optimizer.warmup_images=30"}).empty());
  const auto own =
      warnings({"optimizer.phi.schedule=wsd", "optimizer.warmup_images=20", "optimizer.phi.decay_images=16"});
  REQUIRE(own.size() == 1);
  CHECK_MESSAGE(contains(own.front(), "optimizer.phi.warmup_images ends after"), own.front());
}

TEST_CASE("a setting that trains less than it seems gives a warning") {
  const auto one = [](const std::vector<std::string>& overrides, const char* expected) {
    const std::vector<std::string> found = warnings(overrides);
    REQUIRE_MESSAGE(found.size() == 1, expected);
    CHECK_MESSAGE(contains(found.front(), expected), found.front());
  };
  CHECK(warnings({}).empty());
  one({"train.total_images=16", "optimizer.warmup_images=64"},
      "optimizer.warmup_images is longer than train.total_images = 16: the learning rate rises to 0.00025 of 0.001");
  one({"metrics.0.warmup_images=64", "metrics.0.weight=0.5"}, "the weight of the metric rises to 0.25 of 0.5");
  CHECK(warnings({"metrics.0.warmup_images=64", "metrics.0.weight=0"}).empty());
  one({"metrics.0.share=1e-9"},
      "metrics.0.share = 1e-09: hardly any of the 32 images is drawn for the metric, 3.2e-08");
  one({"metrics.0.share=0.1", "metrics.0.until_images=8"}, "hardly any of the 8 images");
  one({"metrics.0.every=100"}, "metrics.0.every = 100: hardly any of the 32 images");
  one({"metrics.0.share=0.1", "metrics.0.every=4"}, "0.8 on average");
  CHECK(warnings({"metrics.0.share=0.1"}).empty());
  one({"train.batch_size=64", "optimizer.warmup_images=0"}, "the training is a single step");
  one({"optimizer.learning_rate=1e-30"}, "hardly any weight will change");
  one({"optimizer.phi.warmup_images=64"}, "optimizer.phi.warmup_images is longer than train.total_images = 32");
  one({"optimizer.phi.learning_rate=1e-30"}, "optimizer.phi.learning_rate = 1e-30 is lost");
  one({"ema.warmup=false"}, "ema.decay: at the end of the training the average \"ema\" still consists of 99 % initial");
  one({"ema.half_life=100", "ema.rampup_ratio=0"},
      "% initial weights; take a smaller value, or a rampup_ratio of 0.05");
  CHECK(warnings({"ema.half_life=100"}).empty());
  CHECK(warnings({"ema.warmup=false", "ema.decay=0.5"}).empty());
}

TEST_CASE("a training reports before it starts what trains less than it seems") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment =
      small_experiment(folder.path(), "run", single_head(), {"ema.warmup=false", "train.total_images=8"});
  CHECK(contains(stderr_of([&] { run(experiment); }), "warning: ema.decay: at the end of the training"));
}

TEST_CASE("modules that no loss term with a weight trains are named at the first step") {
  const TemporaryFolder folder;
  const std::vector<std::string> none = {"head.weights.eps=0", "head.weights.x0=0", "head.weights.mu=0"};
  CHECK(contains(stderr_of([&] { run(small_experiment(folder.path(), "none", cascade_head(), none)); }),
                 "warning: none of the loss terms (eps, x0, mu) has a weight and trains module theta, phi"));
  CHECK_FALSE(
      contains(stderr_of([&] { run(small_experiment(folder.path(), "all", cascade_head())); }), "warning: none"));
  const std::string unlisted =
      "[head]\ntype = \"single\"\n[head.theta]\ntype = \"networks_broken/faulty_network\"\nfault = \"unlisted\"\n";
  CHECK(contains(stderr_of([&] { run(small_experiment(folder.path(), "unlisted", unlisted)); }),
                 "warning: 1 tensor, the first of shape [1], would get a gradient and belong to no module"));
  CHECK_FALSE(contains(stderr_of([&] { run(small_experiment(folder.path(), "whole", cascade_head())); }),
                       "belong to no module"));
  // A metric that is still warming up will train phi.
  const std::string metric = kMetric + "warmup_images = 8\n";
  const std::string said =
      stderr_of([&] { run(small_experiment(folder.path(), "metric", cascade_head() + metric, none)); });
  CHECK(contains(said, "trains module theta: unless that changes"));
}

TEST_CASE("a module that no loss term trains keeps its weights, weight decay or not, and the others do not") {
  const std::string init = "[[init]]\nmodule = \"theta\"\nfrom = \"";
  for (const std::string optimizer : {"adamw", "adam", "sgd", "lion", "muon"}) {
    CAPTURE(optimizer);
    const TemporaryFolder folder;
    const auto given = tensors(run(small_experiment(folder.path(), "theta", single_head())), "ema.safetensors");
    const std::vector<std::string> overrides = {
        "head.weights.eps=0", "optimizer={type=\"" + optimizer + "\",learning_rate=1e-2,weight_decay=0.5}"};
    const LoadedExperiment experiment = small_experiment(
        folder.path(), "run", cascade_head() + init + (folder.path() / "theta").string() + "\"\n", overrides);
    const Checkpoint end = run(experiment);
    for (const char* file : {"weights.safetensors", "ema.safetensors"}) {
      for (const auto& [name, tensor] : tensors(end, file)) {
        if (name.starts_with("theta.")) CHECK_MESSAGE(at::equal(tensor, given.at(name)), file, ", ", name);
      }
    }
    const auto phi = [&](int images) {
      const fs::path path = folder.path() / "run/checkpoints" / text("0000000000", images);
      return tensors(Checkpoint::open(path), "weights.safetensors").at("phi.time_embed.0.weight");
    };
    CHECK_FALSE(at::equal(phi(16), phi(32)));
  }
}

TEST_CASE("an untrained module without weights from [[init]] gives a warning before the first step") {
  const TemporaryFolder folder;
  const std::vector<std::string> frozen = {"head.train_mode=frozen_theta"};
  const std::string warning = "warning: the head does not train module theta, and no [[init]] gives it weights";
  CHECK(contains(stderr_of([&] { run(small_experiment(folder.path(), "run", cascade_head(), frozen)); }), warning));
  const std::string init = "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "run").string() + "\"\n";
  CHECK_FALSE(contains(stderr_of([&] { run(small_experiment(folder.path(), "given", cascade_head() + init, frozen)); }),
                       warning));
  CHECK_FALSE(contains(stderr_of([&] { run(small_experiment(folder.path(), "joint", cascade_head())); }), warning));
}

TEST_CASE("a run whose modules are all frozen only measures, and says so") {
  const TemporaryFolder folder;
  const Checkpoint theta = run(small_experiment(folder.path(), "theta", single_head()));
  const std::string init =
      "[[init]]\nmodule = \"theta\"\nfrom = \"" + (folder.path() / "theta").string() + "\"\nfreeze = true\n";
  const LoadedExperiment judged = small_experiment(folder.path(), "judged", single_head() + init);
  CHECK(contains(stderr_of([&] { run(judged); }), "every module is frozen: the run only measures and trains nothing"));
  const auto average = tensors(theta, "ema.safetensors");
  for (const auto& [name, tensor] : tensors(Checkpoint::open(folder.path() / "judged"), "weights.safetensors")) {
    CHECK_MESSAGE(at::equal(tensor, average.at(name)), name);
  }
}
