#include "framework/training/training_step.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <torch/csrc/autograd/function.h>

#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The parts of a training that a step needs.
struct Training {
  explicit Training(const LoadedExperiment& experiment, World& world = World::alone())
      : dataset(make_dataset(experiment)),
        model(make_model(experiment, 0, dataset)),
        metrics(experiment, *model.schedule, c10::Device(c10::kCPU)),
        state(experiment, model, *dataset, c10::Device(c10::kCPU), true, world),
        step(
            experiment, model, metrics, state, c10::Device(c10::kCPU), [this] { return parts_left-- == 0; }, world),
        loader(dataset, experiment.options.data,
               {experiment.options.train.batch_size, 0, experiment.options.train.batch_size / world.size()}, 3, 0, {}) {
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

/// The first of two processes with the same images and numbers; records which sums begin during a backward pass.
class Twin final : public World {
 public:
  int size() const override { return 2; }
  void sum(const Tensor& tensor) override { tensor.detach().mul_(2); }
  void begin_sum(const Tensor& tensor) override {
    is_during.push_back(torch::autograd::get_current_node() != nullptr);
    sum(tensor);
  }
  using World::gather;
  Tensor gather(const Tensor& own) override { return at::cat({own, own}); }
  void exchange(const Tensor& flat, const std::vector<FlatRange>& ranges) override {
    const auto part = [&](const FlatRange& range) { return flat.narrow(0, range.offset, range.length); };
    part(ranges.at(1)).copy_(part(ranges.at(0)));
  }

  std::vector<bool> is_during;
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

TEST_CASE("processes exchange the gradients of a step while its last backward pass computes them") {
  const TemporaryFolder folder;
  const std::string metric = "[[metrics]]\ntype = \"l1\"\n";
  const std::vector<std::vector<std::string>> kinds = {{},
                                                       {"train.accumulate=4"},
                                                       {"head.theta.checkpoint=true", "head.phi.checkpoint=true"},
                                                       {"log.grad_norms_every_images=4", "train.accumulate=4"}};
  for (const auto& kind : kinds) {
    CAPTURE(kind.empty() ? "" : kind.front());
    Twin world;
    const LoadedExperiment experiment = small_experiment(folder.path(), "run", cascade_head() + metric, kind);
    Training training(experiment, world);
    for (int step = 1; step <= 2; ++step) {
      REQUIRE(training.step.run(training.loader.next()));
      CHECK(world.is_during == std::vector<bool>(static_cast<std::size_t>(2 * step), true));  // of each module
    }
  }
}

TEST_CASE("a module that gets no gradient in any process is exchanged after the backward pass, and stays as it is") {
  const TemporaryFolder folder;
  Twin world;
  const LoadedExperiment experiment =
      small_experiment(folder.path(), "run", cascade_head(), {"head.weights.eps=0", "optimizer.weight_decay=0.5"});
  Training training(experiment, world);
  const auto before = training.tensors();
  for (int step = 0; step < 2; ++step) REQUIRE(training.step.run(training.loader.next()));
  CHECK(world.is_during == std::vector<bool>{true, false, true, false});
  int changed = 0;
  for (const auto& [name, tensor] : training.tensors()) {
    const bool is_same = at::equal(tensor, before.at(name));
    if (name.starts_with("weights, theta.")) CHECK_MESSAGE(is_same, name);
    if (name.starts_with("weights, phi.") && !is_same) ++changed;
  }
  CHECK(changed > 0);
}
