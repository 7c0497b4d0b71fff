#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "support/messages.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// An experiment with a metric that remembers, correctly or not.
LoadedExperiment remembering(const std::filesystem::path& folder, const std::string& name, const std::string& fault,
                             const std::vector<std::string>& overrides = {}) {
  return small_experiment(
      folder, name, single_head() + "[[metrics]]\ntype = \"remembering\"\nfault = \"" + fault + "\"\n", overrides);
}

}  // namespace

TEST_CASE("a metric's memory is saved in its current state, even if it replaces its buffer at each step") {
  const TemporaryFolder folder;
  for (const std::string how : {"none", "anew"}) {
    const Checkpoint whole = run(remembering(folder.path(), how + "_whole", how, {"train.total_images=16"}));
    const Checkpoint half = run(remembering(folder.path(), how, how, {"train.total_images=8"}));
    const Checkpoint end = resume(remembering(folder.path(), how, how, {"train.total_images=16"}), half);
    CHECK_FALSE(at::equal(tensors(half, "metrics.safetensors").at("remembering.mean"),
                          tensors(end, "metrics.safetensors").at("remembering.mean")));
    CHECK(at::equal(tensors(whole, "metrics.safetensors").at("remembering.mean"),
                    tensors(end, "metrics.safetensors").at("remembering.mean")));
    for (const auto& [name, tensor] : tensors(whole, "weights.safetensors")) {
      CHECK_MESSAGE(at::equal(tensor, tensors(end, "weights.safetensors").at(name)), how << ' ' << name);
    }
  }
}

TEST_CASE("NaN in a metric's memory gets into no checkpoint, and the last good one is named") {
  const TemporaryFolder folder;
  const std::string message =
      message_of_run(remembering(folder.path(), "run", "nan", {"checkpoint.every_images=4", "train.total_images=16"}));
  CHECK_MESSAGE(
      contains(message, "step 2: remembering.mean of what a checkpoint keeps as metrics.safetensors holds NaN"),
      message);
  CHECK_MESSAGE(contains(message, (folder.path() / "run/checkpoints/000000000004").string()), message);
  CHECK(Checkpoint::open(folder.path() / "run").images() == 4);
}

TEST_CASE("buffers to which a checkpoint could not be restored are refused by name, before or at the first step") {
  const TemporaryFolder folder;
  const std::string where = "metrics.0: metric_faulty/remembering: ";
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"copy", "its tensor \"mean\" is a different one at each call"},
      {"expanded", "its tensor \"mean\" is expanded"},
      {"grows", "its buffer \"mean\" has the shape [2] now"},
      {"undeclared", "it changed its buffers, but its info() has no has_state"},
      {"in_place", "it changed the images that it was given"},
      {"data", "it changed the images that it was given"},
      {"backward", "it added to the gradients of the networks"},
  };
  for (const auto& [fault, words] : faults) {
    const std::string message = message_of_run(remembering(folder.path(), fault, fault));
    CHECK_MESSAGE(contains(message, where), message);
    CHECK_MESSAGE(contains(message, words), message);
    CHECK_THROWS_AS(Checkpoint::open(folder.path() / fault), Error);
  }
  for (const auto& [type, words] : {std::pair("copying", "is a different one at each call"),
                                    std::pair("doubling", "two tensors are named 'momentum'")}) {
    const std::string message =
        message_of_run(small_experiment(folder.path(), type, single_head(), {text("optimizer.type=\"", type, "\"")}));
    CHECK_MESSAGE(contains(message, text("optimizers_broken/", type, ": ")), message);
    CHECK_MESSAGE(contains(message, words), message);
  }
}

TEST_CASE("a metric may return float64, with a range of t, too") {
  const TemporaryFolder folder;
  for (const std::string range : {"[0, 1]", "[0, 0.5]"}) {
    CHECK(message_of_run(remembering(folder.path(), "of" + std::to_string(range.size()), "double",
                                     {"metrics[0].t_range=" + range})) == "nothing thrown");
  }
}

TEST_CASE("a sampler whose plan leaves the path is refused before training, not at the first grid") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", single_head(),
                                                       {"head.prediction_type=\"sample\"", "noise={type=\"flow\"}",
                                                        "sampler={type=\"faulty_sampler\",fault=\"timesteps_alone\"}"});
  CHECK_THROWS_WITH_AS(make_model(experiment, 0), doctest::Contains("faulty_sampler: step 0 of plan() leads from t = "),
                       PluginError);
}
