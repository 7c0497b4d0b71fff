#include <doctest/doctest.h>

#include "casdm/text.h"
#include "distributed/runs.h"
#include "framework/support/sha256.h"
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

}  // namespace

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
