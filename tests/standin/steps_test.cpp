#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "casdm/text.h"
#include "cuda/device.h"
#include "framework/standin/standin.h"
#include "framework/training/training_parts.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;
using doctest::Contains;

namespace {

/// @param fault  of the metric "faulty", after `after` good steps
std::string faulty(const std::string& fault, int after) {
  return cascade_head() + "[[metrics]]\ntype = \"relative_l1\"\n[[metrics]]\ntype = \"faulty\"\nfault = \"" + fault +
         "\"\nafter = " + std::to_string(after) + "\n";
}

/// So many that an optimiser does not update the last one in its pass over the weights.
std::string more_averages() {
  std::string result;
  for (const char* decay : {"0.5", "0.6", "0.7", "0.8"}) {
    result += text("[[ema.also]]\nname = \"a", decay + 2, "\"\ndecay = ", decay, "\n");
  }
  return result;
}

/// The lines of the log, if there are any.
std::vector<Value> log_of(const LoadedExperiment& experiment) {
  const auto path = experiment.options.run.directory / experiment.options.run.name;
  return std::filesystem::exists(path / "metrics.jsonl") ? records(path) : std::vector<Value>();
}

/// The first of two processes with the same images and numbers, but for NaN in the other one's.
class Twin final : public World {
 public:
  int size() const override { return 2; }
  std::string whose(int rank) const override { return text(", of rank ", rank); }
  void sum(const Tensor& tensor) override { tensor.detach().mul_(2); }
  Tensor gather(const Tensor& own) override { return at::cat({own, own}); }
  std::vector<std::string> gather(const std::string& words) override { return {words, ""}; }
  void exchange(const Tensor& flat, const std::vector<FlatRange>& ranges) override {
    const auto part = [&](const FlatRange& range) { return flat.narrow(0, range.offset, range.length); };
    part(ranges.at(1)).copy_(part(ranges.at(0)));
    if (has_nan) part(ranges.at(1))[0].fill_(NAN);
  }

  bool has_nan = false;
};

/// The parts of a training on the device, step by step.
struct Training {
  explicit Training(const LoadedExperiment& experiment, World& world = World::alone())
      : run(RunFolder::create(experiment.options.run.directory / experiment.options.run.name, experiment.resolved)),
        parts(experiment, world, &run),
        loader(parts.dataset, experiment.options.data,
               {experiment.options.train.batch_size, parts.share.first, parts.share.count}, 3, 0, {}) {}

  /// Copies of everything that a checkpoint would keep.
  std::map<std::string, Tensor> tensors() const {
    std::map<std::string, Tensor> result;
    for (const auto& [file, content] : parts.state.content().tensors) {
      for (const auto& [name, tensor] : content) result[text(file, ", ", name)] = tensor.cpu().clone();
    }
    return result;
  }

  RunFolder run;
  TrainingParts parts;
  BatchLoader loader;
};

void check_equal(const std::map<std::string, Tensor>& got, const std::map<std::string, Tensor>& expected) {
  REQUIRE(got.size() == expected.size());
  for (const auto& entry : expected) CHECK_MESSAGE(at::equal(got.at(entry.first), entry.second), entry.first);
}

/// The error of a run; empty: none.
std::string error_of(const LoadedExperiment& experiment) {
  try {
    run(experiment);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// The same without the folder of the run and what follows it.
std::string failure_of(const LoadedExperiment& experiment) {
  const std::string error = error_of(experiment);
  return error.substr(0, error.find(experiment.options.run.directory.string()));
}

}  // namespace

TEST_CASE("a GPU leaves out a step that is not finite, though the host learns of that in the next one") {
  for (const std::string fault : {"nan", "nan_gradient"}) {
    for (const std::string& rules : {std::string(), more_averages()}) {
      CAPTURE(fault);
      const TemporaryFolder folder;
      const LoadedExperiment experiment = small_experiment(folder.path(), "run", faulty(fault, 2) + rules, on_cuda());
      Training training(experiment);
      REQUIRE(training.parts.step.run(training.loader.next()));
      REQUIRE(training.parts.step.run(training.loader.next()));
      training.parts.step.settle();
      const auto before = training.tensors();
      REQUIRE(training.parts.step.run(training.loader.next()));
      CHECK(training.parts.state.step() == 3);
      CHECK_THROWS_WITH_AS(training.parts.step.run(training.loader.next()), Contains("step 3: "), NotFinite);
      CHECK(training.parts.state.step() == 2);
      CHECK(training.parts.state.images() == 8);
      check_equal(training.tensors(), before);
    }
  }
}

TEST_CASE("a GPU leaves out a step in which only another process has a loss that is not finite") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(
      folder.path(), "run", cascade_head() + "[[metrics]]\ntype = \"faulty\"\nafter = 100\n", on_cuda());
  Twin world;
  Training training(experiment, world);
  for (int step = 0; step < 2; ++step) REQUIRE(training.parts.step.run(training.loader.next()));
  training.parts.step.settle();
  const auto before = training.tensors();
  world.has_nan = true;
  REQUIRE(training.parts.step.run(training.loader.next()));
  world.has_nan = false;
  CHECK_THROWS_WITH_AS(training.parts.step.run(training.loader.next()), Contains("(image 2 of the batch), of rank 1"),
                       NotFinite);
  CHECK(training.parts.state.step() == 2);
  check_equal(training.tensors(), before);
}

TEST_CASE("on a GPU a run with a NaN ends with the CPU's message and the CPU's log, at whichever step it is") {
  const TemporaryFolder folder;
  // A line every second step, a checkpoint every fourth.
  const std::vector<std::string> settings = {"log.every_images=8", "checkpoint.every_images=16"};
  for (const std::string fault : {"nan", "nan_gradient"}) {
    for (const int after : {0, 1, 2, 3, 4, 7}) {
      const std::string name = fault + std::to_string(after);
      CAPTURE(name);
      const LoadedExperiment on_cpu = small_experiment(folder.path(), name + "-cpu", faulty(fault, after), settings);
      const LoadedExperiment on_gpu =
          small_experiment(folder.path(), name + "-gpu", faulty(fault, after), on_cuda(settings));
      const std::string cpu = failure_of(on_cpu);
      CHECK(cpu.starts_with("step " + std::to_string(after + 1) + ": "));
      CHECK(failure_of(on_gpu) == cpu);
      const std::vector<Value> expected = log_of(on_cpu), found = log_of(on_gpu);
      REQUIRE(found.size() == expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) CHECK(difference(expected[i], found[i]).loss < 1e-3);
      CHECK(Checkpoint::all(RunFolder::open(folder.path() / (name + "-gpu"))).size() ==
            Checkpoint::all(RunFolder::open(folder.path() / (name + "-cpu"))).size());
    }
  }
}

TEST_CASE("on a GPU the error of a component is reported unless the step before was not finite") {
  const TemporaryFolder folder;
  const auto failure = [&](const std::string& name, int nan_after, int throw_after) {
    return error_of(small_experiment(
        folder.path(), name,
        cascade_head() + "[[metrics]]\nname = \"a\"\ntype = \"faulty\"\nfault = \"nan\"\nafter = " +
            std::to_string(nan_after) + "\n[[metrics]]\nname = \"b\"\ntype = \"faulty\"\nfault = \"throw\"\nafter = " +
            std::to_string(throw_after) + "\n",
        on_cuda({"log.every_images=1000", "checkpoint.every_images=1000"})));
  };
  CHECK(failure("nan", 2, 3).starts_with("step 3: loss term 'metric.a' is nan"));
  const std::string thrown = failure("throws", 100, 3);
  CHECK_MESSAGE(thrown.find("the metric gave up") != std::string::npos, thrown);
  const Checkpoint saved = Checkpoint::open(folder.path() / "throws");
  CHECK(saved.images() == 12);
  std::int64_t counted = 0;
  const Value* sums = saved.numbers().find("statistics")->find("loss")->find("eps");
  for (const Value& quarter : sums->find("count")->as_array()) counted += quarter.as_integer();
  CHECK(counted == 12);
}

TEST_CASE("on a GPU an error in the backward pass, in the thread of the device, has the CPU's message") {
  const TemporaryFolder folder;
  const auto failure = [&](const std::string& name, const std::vector<std::string>& settings) {
    return error_of(small_experiment(folder.path(), name, faulty("throw_backward", 2), settings));
  };
  const std::string cpu = failure("cpu", {});
  CHECK_MESSAGE(cpu.find("the metric gave up on its gradient") != std::string::npos, cpu);
  CHECK(failure("gpu", on_cuda()) == cpu);
}

TEST_CASE("the host reads the numbers of a step once the GPU has the work of the next one") {
  const TemporaryFolder folder;
  const auto queued = [&](const std::string& name, const std::vector<std::string>& settings) {
    const LoadedExperiment experiment = small_experiment(folder.path(), name, faulty("nan", 100), on_cuda(settings));
    Training training(experiment);
    const auto step = [&] { REQUIRE(training.parts.step.run(training.loader.next())); };
    step();  // it is not known yet whether the optimisers can leave out a step
    step();
    const standin::DeviceUse before = standin::device_use();
    step();
    const standin::DeviceUse use = standin::device_use() - before;
    CHECK(use.copies_aside == 1);  // the images
    CHECK_MESSAGE(use.waits == 1, name << ": " << standin::describe_waits(use));
    return static_cast<double>(use.queued) / static_cast<double>(use.launches);
  };
  CHECK(queued("adamw", {}) > 0.9);
  CHECK(queued("labels", {"data.use_labels=true"}) > 0.9);
  CHECK(queued("fixed", {"timesteps={type=\"logit_normal\"}"}) > 0.9);
  // What the host or an optimizer decides by the numbers of a step is decided before its update.
  CHECK(queued("fp16", {"run.precision=fp16"}) < 0.01);
  CHECK(queued("lion", {"optimizer.type=lion"}) < 0.01);
  CHECK(queued("timesteps", {"timesteps={type=\"loss_second_moment\"}"}) < 0.01);
}
