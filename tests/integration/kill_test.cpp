#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("a run killed at any moment and resumed is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string length = " --set train.total_images=240 --set checkpoint.every_images=40 --set log.sample_count=0";
  REQUIRE(shell("casdm train small.toml --set run.name=whole" + length, folder.path()).status == 0);
  // SIGKILL once the second checkpoint appears, and again after the fourth.
  const std::string kill_after =
      "while [ \"$(ls runs/parts/checkpoints 2>/dev/null | tail -n 1)\" \\< \"$1\" ]; do sleep 0.01; done; kill -KILL "
      "$p; wait $p; true";
  shell("set -- 000000000080\ncasdm train small.toml --set run.name=parts" + length + " & p=$!\n" + kill_after,
        folder.path());
  shell("set -- 000000000160\ncasdm train --resume runs/parts & p=$!\n" + kill_after, folder.path());
  const Outcome last = shell("casdm train --resume runs/parts", folder.path());
  REQUIRE_MESSAGE(last.status == 0, last.err);
  // What was repeated was not set aside, and nothing half-written is left.
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path() / "runs/parts")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{".lock", "checkpoints", "config.toml", "metrics.jsonl", "samples"});
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    const fs::path end = fs::path("checkpoints") / "000000000240" / file;
    CHECK_MESSAGE(
        sha256_of_file(folder.path() / "runs/whole" / end) == sha256_of_file(folder.path() / "runs/parts" / end), file);
  }
}
