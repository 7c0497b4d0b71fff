#include "framework/training/term_gradients.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kHalfMetric = "[[metrics]]\ntype = \"l1\"\nweight = 0.5\n";
const std::vector<std::string> kMeasured = {"log.grad_norms_every_images=8"};

std::vector<std::string> joined(std::vector<std::string> overrides, const std::vector<std::string>& more) {
  overrides.insert(overrides.end(), more.begin(), more.end());
  return overrides;
}

/// loss.TERM.grad_norm.MODULE in a line of the log; -1: missing.
double norm(const Value& line, const std::string& term, const std::string& module) {
  const Value* losses = line.find("loss");
  const Value* entry = losses != nullptr ? losses->find(term) : nullptr;
  const Value* norms = entry != nullptr ? entry->find("grad_norm") : nullptr;
  const Value* value = norms != nullptr ? norms->find(module) : nullptr;
  return value != nullptr ? value->as_number() : -1;
}

/// grad_norm.MODULE: that of all terms together.
double norm(const Value& line, const std::string& module) { return line.find("grad_norm")->find(module)->as_number(); }

}  // namespace

TEST_CASE("measuring the gradient norm of each term changes no bit of the training") {
  const std::vector<std::vector<std::string>> kinds = {
      {},
      {"train.accumulate=2"},
      {"head.theta.checkpoint=true", "head.phi.checkpoint=true"},
      {"run.precision=bf16", "head.phi.checkpoint=true", "train.accumulate=2"},
      {"optimizer.grouping=joint"},
      {"head.weights.eps=0", "optimizer.weight_decay=0.5"},
  };
  for (const auto& kind : kinds) {
    CAPTURE(kind.empty() ? "" : kind.front());
    const TemporaryFolder folder;
    const Checkpoint plain = run(small_experiment(folder.path(), "plain", cascade_head() + kHalfMetric, kind));
    const Checkpoint measured =
        run(small_experiment(folder.path(), "measured", cascade_head() + kHalfMetric, joined(kind, kMeasured)));
    for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
      CHECK_MESSAGE(sha256_of_file(plain.path() / file) == sha256_of_file(measured.path() / file), file);
    }
    CHECK(norm(records(folder.path() / "measured").back(), "x0", "phi") > 0);
    CHECK(norm(records(folder.path() / "plain").back(), "x0", "phi") == -1);
  }
}

TEST_CASE("a metric's gradient does not reach theta in Cas-DM, and does in a single network") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "cascade", cascade_head() + kHalfMetric, kMeasured));
  run(small_experiment(folder.path(), "single", single_head() + kHalfMetric, kMeasured));
  for (const Value& line : records(folder.path() / "cascade")) {
    CHECK(norm(line, "metric.l1", "theta") == 0);
    CHECK(norm(line, "metric.l1", "phi") > 0);
    CHECK(norm(line, "eps", "phi") == 0);
    CHECK(norm(line, "eps", "theta") > 0);
  }
  for (const Value& line : records(folder.path() / "single")) CHECK(norm(line, "metric.l1", "theta") > 0);
}

TEST_CASE("a term's gradient norm is that of a training in which all other terms have weight 0") {
  const std::vector<std::pair<std::string, std::string>> weights = {{"eps", "head.weights.eps"},
                                                                    {"x0", "head.weights.x0"},
                                                                    {"mu", "head.weights.mu"},
                                                                    {"metric.l1", "metrics.0.weight"}};
  for (const std::string parts : {"1", "4"}) {
    CAPTURE(parts);
    const TemporaryFolder folder;
    // The first step, from the same weights.
    const std::vector<std::string> first = {"train.total_images=4", "train.accumulate=" + parts};
    run(small_experiment(folder.path(), "all", cascade_head() + kHalfMetric, joined(first, kMeasured)));
    const Value together = records(folder.path() / "all").back();
    for (const auto& [term, key] : weights) {
      CAPTURE(term);
      std::vector<std::string> alone = first;
      for (const auto& [other, other_key] : weights) {
        if (other != term) alone.push_back(other_key + "=0");
      }
      run(small_experiment(folder.path(), term, cascade_head() + kHalfMetric, alone));
      const Value own = records(folder.path() / term).back();
      for (const char* module : {"theta", "phi"}) {
        CHECK(norm(together, term, module) == doctest::Approx(norm(own, module)).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("gradient norms of terms are in the lines whose steps are due, after a resume as without one") {
  const TemporaryFolder folder;
  const std::vector<std::string> all = {"log.every_images=8", "log.grad_norms_every_images=12",
                                        "checkpoint.every_images=4", "checkpoint.keep_last=8"};
  const auto lines = [&](const std::string& name) {
    std::vector<std::pair<std::int64_t, double>> result;
    for (const Value& line : records(folder.path() / name)) {
      if (line.find("loss") == nullptr) continue;
      result.emplace_back(line.find("images")->as_integer(), norm(line, "mu", "phi"));
    }
    return result;
  };
  const auto experiment = [&](const std::string& name) {
    return small_experiment(folder.path(), name, cascade_head(), all);
  };
  run(experiment("whole"));
  // Measured at 12, 24 and, at the end, 32.
  const auto whole = lines("whole");
  REQUIRE(whole.size() == 4);
  CHECK(whole[0].second == -1);
  CHECK(whole[1].second > 0);
  CHECK(whole[2].second > 0);
  CHECK(whole[3].second > 0);
  run(experiment("resumed"));
  // The norms of the step to 12 images are stored in the checkpoint for the line at 16.
  resume(experiment("resumed"), Checkpoint::open(folder.path() / "resumed/checkpoints/000000000012"));
  CHECK(lines("resumed") == whole);
}
