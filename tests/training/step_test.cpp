#include "framework/training/training_step.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The parts of a training that a step needs.
struct Training {
  explicit Training(const LoadedExperiment& experiment)
      : dataset(make_dataset(experiment)),
        model(make_model(experiment, 0, dataset)),
        metrics(experiment, *model.schedule, c10::Device(c10::kCPU)),
        state(experiment, model, *dataset, c10::Device(c10::kCPU), true),
        step(experiment, model, metrics, state, c10::Device(c10::kCPU), [this] { return parts_left-- == 0; }),
        loader(dataset, experiment.options.data, experiment.options.train.batch_size, 3, 0, {}) {
    state.keep_metrics([this] { return metrics.state(); });
  }

  /// Copies of all tensors that a checkpoint would keep.
  std::map<std::string, Tensor> tensors() const {
    std::map<std::string, Tensor> result;
    for (const auto& [file, content] : state.content().tensors) {
      for (const auto& [name, tensor] : content) result[file + ", " + name] = tensor.clone();
    }
    return result;
  }

  int parts_left = -1;  ///< until the interruption; below 0: never
  std::shared_ptr<Dataset> dataset;
  Model model;
  ExperimentMetrics metrics;
  TrainingState state;
  TrainingStep step;
  BatchLoader loader;
};

void check_equal(const std::map<std::string, Tensor>& got, const std::map<std::string, Tensor>& expected) {
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, tensor] : expected) CHECK_MESSAGE(at::equal(got.at(name), tensor), name);
}

}  // namespace

TEST_CASE("a step interrupted between two parts of its batch leaves the state unchanged, including metrics' memory") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(
      folder.path(), "run",
      cascade_head() + "[[metrics]]\ntype = \"relative_l1\"\n[timesteps]\ntype = \"loss_second_moment\"\n",
      {"train.accumulate=4"});
  Training whole(experiment), stopped(experiment);
  const ImageBatch first = whole.loader.next(), second = whole.loader.next();
  REQUIRE(whole.step.run(first));
  REQUIRE(stopped.step.run(first));
  const auto before = stopped.tensors();
  check_equal(before, whole.tensors());

  stopped.parts_left = 1;  // the first part may continue to the second, but not further
  CHECK_FALSE(stopped.step.run(second));
  check_equal(stopped.tensors(), before);
  CHECK(stopped.state.images() == 4);
  CHECK(stopped.state.is_whole());

  stopped.parts_left = -1;
  REQUIRE(whole.step.run(second));
  REQUIRE(stopped.step.run(second));
  check_equal(stopped.tensors(), whole.tensors());
  CHECK_FALSE(at::equal(whole.tensors().at("metrics, relative_l1.seen"), before.at("metrics, relative_l1.seen")));
}

TEST_CASE("a run interrupted within its first step can be resumed") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment =
      small_experiment(folder.path(), "run", single_head(), {"train.accumulate=4", "train.total_images=8"});
  RunFolder run = RunFolder::create(folder.path() / "run", experiment.resolved);
  Training stopped(experiment);
  stopped.parts_left = 1;
  CHECK_FALSE(stopped.step.run(stopped.loader.next()));
  CheckpointContent content = stopped.state.content();
  content.config = experiment.resolved;
  content.plugins = experiment.host->used();
  const Checkpoint saved = Checkpoint::open(Checkpoint::save(run, content));
  CHECK(saved.images() == 0);
  CHECK(resume(experiment, saved).images() == 8);
}
