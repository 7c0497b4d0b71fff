#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <chrono>
#include <set>
#include <thread>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "distributed/runs.h"
#include "framework/support/sha256.h"
#include "framework/training/module_optimizer.h"
#include "framework/training/parameter_shares.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const std::string kShard = " --set train.shard_optimizer=true";

/// Two averages of which snapshots are taken.
const char* const kAverages = R"(snapshot_every_images = 24
[[ema.also]]
name = "p05"
sigma_rel = 0.05
[[ema.also]]
name = "p10"
sigma_rel = 0.1
)";

/// The files of a run that training wrote, relative to it, which contain tensors or images.
std::set<std::string> results_of(const fs::path& run) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".safetensors" || extension == ".png") files.insert(fs::relative(entry.path(), run).string());
  }
  return files;
}

void check_same_files(const fs::path& run, const fs::path& other) {
  const std::set<std::string> files = results_of(run);
  CHECK(files == results_of(other));
  for (const std::string& file : files) {
    CHECK_MESSAGE(sha256_of_file(run / file) == sha256_of_file(other / file), other, ' ', file);
  }
}

fs::path checkpoint(const fs::path& run, const std::string& images) { return run / "checkpoints" / images; }

/// Waits until the checkpoint is there.
void wait_for(const fs::path& checkpoint) {
  for (int i = 0; i < 600 && !fs::exists(checkpoint); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  REQUIRE(fs::exists(checkpoint));
}

}  // namespace

TEST_CASE("parameters are divided into consecutive ranges of which the longest is as short as possible") {
  const auto spec = flat_parameters({{"a", at::zeros({40})},
                                     {"b", at::zeros({16})},
                                     {"c", at::zeros({100})},
                                     {"none", at::zeros({0})},
                                     {"d", at::zeros({16})}},
                                    c10::Device(c10::kCPU));
  const auto lengths = [&](std::size_t count) {
    std::vector<std::int64_t> result;
    std::size_t next = 0;
    std::int64_t offset = 0;
    for (const ParameterRange& range : shares_of_parameters(spec, count)) {
      CHECK(range.first == next);
      CHECK(range.flat.offset == offset);
      next += range.count;
      offset += range.flat.length;
      result.push_back(range.flat.length);
    }
    CHECK(next == 5);
    CHECK(offset == spec.weights.numel());
    return result;
  };
  CHECK(lengths(1) == std::vector<std::int64_t>{192});
  CHECK(lengths(2) == std::vector<std::int64_t>{64, 128});
  CHECK(lengths(3) == std::vector<std::int64_t>{64, 112, 16});
  CHECK(lengths(5) == std::vector<std::int64_t>{64, 112, 16, 0, 0});

  const auto shares = shares_of_parameters(spec, 2);
  const Optimizer::Spec last = parameters_of(spec, shares[1]);
  REQUIRE(last.parameters.size() == 3);
  CHECK(last.parameters[0].name == "c");
  CHECK(last.parameters[0].offset == 0);
  CHECK(last.parameters[2].offset == 112);
  last.weights[112].fill_(7);
  CHECK(spec.parameters[4].weight[0].item<double>() == 7);
}

TEST_CASE("a sharded optimiser does what a whole one does in each of 2 and 4 processes, to the bit") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), std::string(kEverything) + kAverages);
  const std::string common =
      "small.toml --set log.grad_norms_every_images=24 --set log.sample_every_images=24 --set log.sample_count=3" +
      kPlugins + " --set run.directory=";
  for (const int size : {2, 4}) {
    const std::string whole = text("whole", size), shared = text("shared", size);
    train(folder.path(), size, common + whole);
    const std::string output = train(folder.path(), size, common + shared + kShard);
    CHECK_MESSAGE(contains(output, "train.shard_optimizer: a process keeps "), output);
    check_same(folder.path() / whole / "run", folder.path() / shared / "run", 0);
    check_same_files(folder.path() / whole / "run", folder.path() / shared / "run");
    CHECK(fs::exists(folder.path() / shared / "run/samples/24.png"));
    CHECK(fs::exists(folder.path() / shared / "run/ema/000000000048-0.05.safetensors"));
  }
}

TEST_CASE("other optimisers that are sharded do the same, too, with more processes than some have parameters for") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[optimizer.theta]\ntype = \"muon\"\n[optimizer.phi]\ntype = \"sgd\"\n");
  const fs::path runs = folder.path() / "runs";
  const std::string phi = " --set optimizer.phi.type=";
  for (const std::string type : {"sgd", "lion"}) {
    train(folder.path(), 4, text("small.toml --set run.name=whole-", type, phi, type));
    train(folder.path(), 4, text("small.toml --set run.name=shared-", type, phi, type, kShard));
    check_same(runs / ("whole-" + type), runs / ("shared-" + type), 0);
    check_same_files(runs / ("whole-" + type), runs / ("shared-" + type));
  }
}

TEST_CASE("a sharded optimiser that remembers the first weights begins with those of [[init]] in every process") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  train(folder.path(), 1, "small.toml --set train.total_images=24 --set run.name=source");
  const std::string start =
      "small.toml --set train.total_images=24 --set 'optimizer={type=\"anchored\", learning_rate=1e-2}' --set "
      "'init=[{module=\"theta\", from=\"runs/source\"}]'" +
      kPlugins + " --set run.name=";
  train(folder.path(), 2, start + "whole");
  train(folder.path(), 2, start + "shared" + kShard);
  check_same_files(folder.path() / "runs/whole", folder.path() / "runs/shared");
}

TEST_CASE("a run can be resumed with another number of processes, sharded or not") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const fs::path runs = folder.path() / "runs";
  train(folder.path(), 2, "small.toml --set run.name=whole" + kPlugins);
  train(folder.path(), 2, "small.toml --set train.total_images=24" + kPlugins + kShard);
  train(folder.path(), 2, "small.toml --set train.total_images=24 --set run.name=plain" + kPlugins);
  for (const char* copy : {"four", "one", "same"}) fs::copy(runs / "run", runs / copy, fs::copy_options::recursive);
  const std::string rest = " --set train.total_images=48" + kPlugins;
  train(folder.path(), 2, "--resume runs/same" + rest);
  train(folder.path(), 2, "--resume runs/run --set train.shard_optimizer=false" + rest);
  train(folder.path(), 2, "--resume runs/plain" + rest + kShard);
  train(folder.path(), 4, "--resume runs/four" + rest);
  train(folder.path(), 1, "--resume runs/one" + rest);
  for (const char* run : {"same", "run", "plain"}) {
    check_same(runs / "whole", runs / run, 0);
    check_same_files(checkpoint(runs / "whole", "000000000048"), checkpoint(runs / run, "000000000048"));
  }
  for (const char* run : {"four", "one"}) check_same(runs / "whole", runs / run, 1e-4);
}

TEST_CASE("a step that is not finite is not taken with a sharded optimiser, either") {
  const TemporaryFolder folder;
  const std::string metric = "[[metrics]]\ntype = \"faulty\"\n";
  write_experiment(folder.path(), metric + "position = 13\n");  // of the second step, rank 1
  const std::string common = "small.toml --set checkpoint.every_images=8" + kPlugins + " --set run.name=";
  std::string messages[2];
  for (const bool is_shared : {false, true}) {
    Processes run(folder.path(), {common + (is_shared ? "shared" + kShard : "whole")}, environments(2));
    run.wait();
    CHECK(run.status(0) != 0);
    CHECK(run.status(1) != 0);
    REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
    messages[is_shared ? 1 : 0] = run.messages()[0];
  }
  CHECK_MESSAGE(contains(messages[1], "step 2: loss term 'metric.faulty' is nan"), messages[1]);
  CHECK_MESSAGE(contains(messages[1], "the last good checkpoint is "), messages[1]);
  check_same_files(folder.path() / "runs/whole", folder.path() / "runs/shared");
  CHECK(fs::exists(checkpoint(folder.path() / "runs/shared", "000000000008")));
}

TEST_CASE("when a process of a sharded run is killed, the last checkpoint is good") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const fs::path runs = folder.path() / "runs";
  Processes run(folder.path(), {"small.toml --set train.total_images=1M --set checkpoint.every_images=40" + kShard},
                environments(2));
  wait_for(checkpoint(runs / "run", "000000000040"));
  run.signal(1, SIGKILL);
  run.wait();
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(contains(run.messages()[0], "rank 1 on "), run.messages()[0]);
  std::set<std::string> saved;
  for (const auto& entry : fs::directory_iterator(runs / "run/checkpoints")) saved.insert(entry.path().filename());
  const std::string images = std::to_string(std::stoll(*saved.rbegin()) + 8);
  const std::string output = train(folder.path(), 2, "--resume runs/run --set train.total_images=" + images);
  CHECK_MESSAGE(contains(output, "done: "), output);
}

TEST_CASE("when a process of a sharded run fails, the state after the last step is lost, and the user is told") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"faulty\"\nfault = \"throw\"\nposition = 21\n");  // third step
  Processes run(folder.path(), {"small.toml --set checkpoint.every_images=8" + kPlugins + kShard}, environments(2));
  run.wait();
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_FALSE(contains(run.output(), "is lost"));  // it was saved
  CHECK(fs::exists(checkpoint(folder.path() / "runs/run", "000000000016")));
  Processes late(folder.path(), {"small.toml --set run.name=late" + kPlugins + kShard}, environments(2));
  late.wait();
  CHECK_MESSAGE(contains(late.output(),
                         "the state at 16 images is lost, since with train.shard_optimizer each process "
                         "kept a part of it; the run has no checkpoint yet"),
                late.output());
  CHECK(fs::is_empty(folder.path() / "runs/late/checkpoints"));
}

TEST_CASE("a signal while a sharded run draws samples stops it, and the resumed run is the uninterrupted one") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const fs::path runs = folder.path() / "runs";
  const std::string drawing = "small.toml --set log.sample_every_images=24" + kShard;
  train(folder.path(), 2, drawing + " --set log.sample_count=2 --set run.name=whole");
  Processes run(folder.path(), {drawing + " --set log.sample_count=512 --set sampler.num_inference_steps=50"},
                environments(2));
  wait_for(checkpoint(runs / "run", "000000000024"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  run.signal(1, SIGTERM);
  run.wait();
  CHECK_MESSAGE(run.status(0) + run.status(1) == 0, run.output());
  CHECK_FALSE(fs::exists(runs / "run/samples/24.png"));
  train(folder.path(), 2, "--resume runs/run --set log.sample_count=2 --set sampler.num_inference_steps=2");
  for (const char* images : {"000000000024", "000000000048"}) {
    check_same_files(checkpoint(runs / "whole", images), checkpoint(runs / "run", images));
  }
}

TEST_CASE("an optimiser whose step for some parameters depends on others is not sharded") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[optimizer]\ntype = \"counting\"\n");
  Processes run(folder.path(), {"small.toml --plugin '" CASDM_TEST_PLUGIN_DIR "/optimizers_broken.so'" + kShard},
                environments(2));
  run.wait();
  CHECK(run.status(0) + run.status(1) == 3);  // 2, for an invalid experiment, in the process that reports it
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  const std::string message = run.messages()[0];
  CHECK_MESSAGE(contains(message, "train.shard_optimizer: the optimiser optimizers_broken/counting of module theta"),
                message);
  CHECK_MESSAGE(contains(message, "take other steps than one of all of them"), message);
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}
