#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "casdm/text.h"
#include "distributed/runs.h"
#include "framework/support/sha256.h"
#include "framework/training/checkpoint.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const std::string kCuda = " --set run.device=cuda";

void check_same_checkpoints(const fs::path& run, const fs::path& other) {
  for (const char* file : {"weights", "ema", "optimizer", "timesteps", "metrics"}) {
    const fs::path end = fs::path("checkpoints") / "000000000048" / text(file, ".safetensors");
    CHECK_MESSAGE(sha256_of_file(run / end) == sha256_of_file(other / end), other, ' ', file);
  }
}

/// `casdm sample` in several processes; the SHA-256 of the images.
std::string drawn(const fs::path& folder, int processes, const std::string& run) {
  const std::string out = text("drawn-by-", processes);
  const std::string arguments = text(run, " --num 5 --batch 2 --device cuda --out ", out, kPlugins);
  Processes drawing(folder, {arguments}, environments(processes), {}, "sample");
  drawing.wait();
  for (int rank = 0; rank < processes; ++rank) REQUIRE_MESSAGE(drawing.status(rank) == 0, drawing.output());
  return sha256_of_file(folder / out / "samples.npz");
}

/// What a process used of its device.
struct Use {
  std::int64_t waits = 0, bytes = 0, launches = 0;
  std::string described;
};

/// Trains `steps` steps in two processes; the use of the device in each.
std::vector<Use> used_by_two(const fs::path& folder, int steps) {
  std::vector<Environment> each = environments(2);
  for (int rank = 0; rank < 2; ++rank) {
    each[static_cast<std::size_t>(rank)]["CASDM_STANDIN_USE"] = (folder / text("use.", rank)).string();
  }
  const std::string arguments = text("small.toml --set run.name=", steps, "-steps --set train.total_images=", 8 * steps,
                                     " --set log.every_images=1000 --set checkpoint.every_images=1000");
  Processes training(folder, {arguments + kPlugins + kCuda}, each);
  training.wait();
  std::vector<Use> result;
  for (int rank = 0; rank < 2; ++rank) {
    REQUIRE_MESSAGE(training.status(rank) == 0, training.output());
    Use use;
    std::ifstream file(folder / text("use.", rank));
    file >> use.waits >> use.bytes >> use.launches;
    file.ignore();
    std::getline(file, use.described);
    result.push_back(use);
  }
  return result;
}

}  // namespace

TEST_CASE("a step of two processes without NCCL copies gradients to the CPU's memory and back once") {
  constexpr int kFew = 2, kMore = 6;
  const TemporaryFolder folder;
  write_experiment(folder.path(), "[[metrics]]\ntype = \"l1\"\n");
  const std::vector<Use> few = used_by_two(folder.path(), kFew), more = used_by_two(folder.path(), kMore);
  const Checkpoint end = Checkpoint::open(folder.path() / "runs" / text(kMore, "-steps"));
  std::int64_t weights = 0;
  for (const auto& [name, tensor] : end.tensors("weights")) weights += static_cast<std::int64_t>(tensor.nbytes());
  const auto in_step = [&](std::size_t rank, std::int64_t Use::*count) {
    return (more[rank].*count - few[rank].*count) / (kMore - kFew);
  };
  const std::int64_t waits = std::max(in_step(0, &Use::waits), in_step(1, &Use::waits));
  const std::int64_t bytes = std::max(in_step(0, &Use::bytes), in_step(1, &Use::bytes));
  const std::int64_t launches = std::max(in_step(0, &Use::launches), in_step(1, &Use::launches));
  MESSAGE("a step of two processes launches " << launches << " operators, waits " << waits << " times and copies "
                                              << bytes << " bytes (" << weights << " of weights)");
  // For each module its gradients to the CPU and back, the norms to the CPU and back, and the record.
  CHECK_MESSAGE(waits <= 2 * 2 + 2 + 1, more[1].described);
  // Each parameter begins at a multiple of 16 elements, and the record has a few numbers of each image.
  CHECK(bytes > 2 * weights);
  CHECK(bytes < 2 * weights * 11 / 10 + 1000);
}

TEST_CASE("processes with a CUDA device each train the run of one, with a whole or divided optimizer, and draw") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const auto run = [&](const char* name) { return folder.path() / name / "run"; };
  const std::string common = "small.toml --set log.sample_count=3" + kPlugins + kCuda + " --set run.directory=";
  train(folder.path(), 1, common + "one");
  const std::string output = train(folder.path(), 2, common + "two");
  train(folder.path(), 2, common + "shared --set train.shard_optimizer=true");
  CHECK_MESSAGE(output.find("; sums and weights are exchanged through the CPU's memory") != std::string::npos, output);
  check_same(run("one"), run("two"), 1e-4);
  check_same(run("two"), run("shared"), 0);
  check_same_checkpoints(run("two"), run("shared"));
  CHECK(sha256_of_file(run("two") / "samples/48.png") == sha256_of_file(run("shared") / "samples/48.png"));
  CHECK(drawn(folder.path(), 1, "one/run") == drawn(folder.path(), 2, "one/run"));
}

TEST_CASE("a run on CUDA that was stopped with two processes continues with four, then with one") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const fs::path runs = folder.path() / "runs";
  const auto until = [](int images) { return text(" --set train.total_images=", images) + kPlugins; };
  train(folder.path(), 1, "small.toml --set run.name=whole" + until(48) + kCuda);
  train(folder.path(), 2, "small.toml" + until(16) + kCuda);
  train(folder.path(), 4, "--resume runs/run" + until(32));
  train(folder.path(), 1, "--resume runs/run" + until(48));
  check_same(runs / "whole", runs / "run", 1e-4);
}
