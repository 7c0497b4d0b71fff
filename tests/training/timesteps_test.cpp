#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <sstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Few timesteps and a short history, so that the sampler finishes its warm-up within the run.
const std::vector<std::string> kShort = {"noise.num_train_timesteps=4", "noise.scale_with_timesteps=false",
                                         "train.total_images=48"};

std::string loss_aware(const std::string& more = "") {
  return text("[timesteps]\ntype = \"loss_second_moment\"\nhistory_per_term = 2\nuniform_prob = 0.1\n", more);
}

std::vector<std::string> extended(std::vector<std::string> overrides, const std::string& one_more) {
  overrides.push_back(one_more);
  return overrides;
}

const std::string kStrongMetric = "[[metrics]]\ntype = \"l1\"\nweight = 50.0\n";

void check_equal(const Checkpoint& a, const Checkpoint& b, const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    CHECK_MESSAGE(sha256_of_file(a.path() / file) == sha256_of_file(b.path() / file), file);
  }
}

bool same_theta(const Checkpoint& a, const Checkpoint& b) {
  const auto theirs = tensors(b, "weights.safetensors");
  bool is_same = true;
  for (const auto& [name, tensor] : tensors(a, "weights.safetensors")) {
    if (name.starts_with("theta.")) is_same = is_same && at::equal(tensor, theirs.at(name));
  }
  return is_same;
}

Value first_record(const std::filesystem::path& run) {
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  std::string line;
  std::getline(lines, line);
  return from_json(line);
}

}  // namespace

TEST_CASE("a run with uniform timesteps is bitwise the run without a sampler") {
  const TemporaryFolder folder;
  const Checkpoint none = run(small_experiment(folder.path(), "none", single_head()));
  const Checkpoint uniform =
      run(small_experiment(folder.path(), "uniform", single_head() + "[timesteps]\ntype = \"uniform\"\n"));
  check_equal(none, uniform, {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"});
  CHECK_FALSE(std::filesystem::exists(uniform.path() / "timesteps.safetensors"));
}

TEST_CASE("a run with learning timesteps, stopped and resumed, is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  const std::string toml = single_head() + loss_aware();
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", toml, kShort));
  const std::vector<std::string> first_part = extended(kShort, "train.total_images=24");
  const Checkpoint half = run(small_experiment(folder.path(), "parts", toml, first_part));
  resume(small_experiment(folder.path(), "parts", toml, kShort), half);
  check_equal(Checkpoint::open(folder.path() / "parts"), whole,
              {"weights.safetensors", "ema.safetensors", "optimizer.safetensors", "timesteps.safetensors"});

  const auto state = tensors(whole, "timesteps.safetensors");
  CHECK(state.at("counts").min().item<std::int64_t>() == 2);
  const Checkpoint none = run(small_experiment(folder.path(), "none", single_head(), kShort));
  CHECK_FALSE(same_theta(whole, none));
}

TEST_CASE("what a sampler has learned is never silently started anew") {
  const TemporaryFolder folder;
  const std::vector<std::string> first_part = extended(kShort, "train.total_images=8");
  const Checkpoint without = run(small_experiment(folder.path(), "without", single_head(), first_part));
  CHECK_THROWS_WITH_AS(
      resume(small_experiment(folder.path(), "without", single_head() + loss_aware(), kShort), without),
      doctest::Contains("holds no state of a timestep sampler"), Error);
  const Checkpoint with = run(small_experiment(folder.path(), "with", single_head() + loss_aware(), first_part));
  CHECK_THROWS_WITH_AS(resume(small_experiment(folder.path(), "with", single_head(), kShort), with),
                       doctest::Contains("holds state of a timestep sampler"), Error);
  CHECK_THROWS_WITH_AS(resume(small_experiment(folder.path(), "with", single_head() + loss_aware(),
                                               extended(kShort, "timesteps.history_per_term=3")),
                              with),
                       doctest::Contains("history"), Error);
  std::filesystem::remove(with.path() / "timesteps.safetensors");
  CHECK_THROWS_WITH_AS(Checkpoint::open(with.path()), doctest::Contains("timesteps.safetensors is missing"), Error);
}

TEST_CASE("a metric does not affect theta's timesteps if they are learned from eps, but does if from all terms") {
  const TemporaryFolder folder;
  const std::string eps_alone = loss_aware("terms = [\"eps\"]\n");
  const Checkpoint single = run(small_experiment(folder.path(), "single", single_head() + eps_alone, kShort));
  const Checkpoint cascade =
      run(small_experiment(folder.path(), "cascade", cascade_head() + kStrongMetric + eps_alone, kShort));
  CHECK(same_theta(single, cascade));
  CHECK_FALSE(same_theta(
      single, run(small_experiment(folder.path(), "all", cascade_head() + kStrongMetric + loss_aware(), kShort))));
}

TEST_CASE("an image's weight scales its gradient and does not change the record") {
  const TemporaryFolder folder;
  // This distribution is entirely at t = 25 of 50, where an importance weight is 1 / 50.
  const std::string narrow = "[timesteps]\ntype = \"logit_normal\"\nmean = 0.04\nstd = 0.001\n";
  const std::vector<std::string> one_step = {"train.total_images=4", "log.every_images=4"};
  run(small_experiment(folder.path(), "plain", single_head() + narrow, one_step));
  run(small_experiment(folder.path(), "weighted", single_head() + narrow + "importance = true\n", one_step));
  run(small_experiment(folder.path(), "parts", single_head() + narrow + "importance = true\n",
                       extended(one_step, "train.accumulate=2")));
  const Value plain = first_record(folder.path() / "plain");
  for (const char* name : {"weighted", "parts"}) {
    const Value record = first_record(folder.path() / name);
    const auto norm = [](const Value& line) { return line.find("grad_norm")->find("theta")->as_number(); };
    const auto loss = [](const Value& line) { return line.find("loss")->find("eps")->find("mean")->as_number(); };
    CHECK_MESSAGE(norm(record) == doctest::Approx(norm(plain) / 50).epsilon(1e-4), name);
    CHECK_MESSAGE(loss(record) == doctest::Approx(loss(plain)).epsilon(1e-4), name);
  }
}

TEST_CASE("a term that the objective lacks stops the run with its name") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(
      run(small_experiment(folder.path(), "run", single_head() + loss_aware("terms = [\"x0\"]\n"), kShort)),
      doctest::Contains("timesteps.terms names 'x0'"), ConfigError);
}

TEST_CASE("timesteps that are told to learn from a metric go on in steps without it, where it counts as 0") {
  const TemporaryFolder folder;
  const std::string every = "[[metrics]]\ntype = \"l1\"\nweight = 50.0\nevery = 2\nuntil_images = 24\n";
  const Checkpoint end = run(
      small_experiment(folder.path(), "run", single_head() + every + loss_aware("terms = [\"metric.l1\"]\n"), kShort));
  CHECK(end.images() == 48);
  const auto state = tensors(end, "timesteps.safetensors");
  CHECK(state.at("history").eq(0).any().item<bool>());
  // The first step has the metric, so a name that is none is found in it.
  CHECK_THROWS_WITH_AS(run(small_experiment(folder.path(), "wrong",
                                            single_head() + every + loss_aware("terms = [\"metric.l2\"]\n"), kShort)),
                       doctest::Contains("metric.l2"), ConfigError);
}
