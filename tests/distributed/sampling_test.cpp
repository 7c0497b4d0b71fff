#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "casdm/text.h"
#include "casdm/value.h"
#include "distributed/processes.h"
#include "framework/support/sha256.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const std::string kJudging = " --plugin '" CASDM_TEST_PLUGIN_DIR "/judging.so'";

/// Trains runs/run.
void train(const fs::path& folder) {
  write_experiment(folder,
                   "[evaluate]\n[[evaluate.judges]]\ntype = \"cells\"\nmetrics = [{ type = \"moments_gap\" }]\n");
  Processes run(folder, {"small.toml" + kJudging}, environments(1));
  run.wait();
  REQUIRE_MESSAGE(run.status(0) == 0, run.output());
}

void sample(const fs::path& folder, int processes, const std::string& words) {
  Processes run(folder, {"runs/run" + words + kJudging}, environments(processes), {}, "sample");
  run.wait();
  for (int rank = 0; rank < processes; ++rank) REQUIRE_MESSAGE(run.status(rank) == 0, run.output());
}

/// The output of `casdm evaluate --json`, with 12 images in batches of 2 and this many processes.
Value evaluated(const fs::path& folder, int processes) {
  std::vector<Environment> environment = environments(processes);
  for (Environment& one : environment) one["CASDM_CACHE"] = (folder / "cache").string();
  Processes run(
      folder,
      {"runs/run --num 12 --batch 2 --overwrite --set evaluate.reference_num=20 --json > scores.$RANK" + kJudging},
      environment, {}, "evaluate");
  run.wait();
  for (int rank = 0; rank < processes; ++rank) REQUIRE_MESSAGE(run.status(rank) == 0, run.output());
  for (int rank = 1; rank < processes; ++rank) CHECK(read_file(folder / text("scores.", rank)).empty());
  const Value printed = from_json(read_file(folder / "scores.0"));
  return *printed.find("evaluations")->as_array().at(0).find("scores");
}

}  // namespace

TEST_CASE("several processes draw the same images as one, bit for bit, and one of them writes") {
  const TemporaryFolder folder;
  train(folder.path());
  // 11 images in batches of 2: the last round has one image less, or whole batches are missing.
  const std::string words = " --num 11 --batch 2 --out of";
  for (const int size : {1, 2, 4}) sample(folder.path(), size, words + std::to_string(size));
  for (const char* file : {"samples.npz", "000010.png"}) {
    const std::string whole = sha256_of_file(folder.path() / "of1" / file);
    for (const char* other : {"of2", "of4"}) CHECK(sha256_of_file(folder.path() / other / file) == whole);
  }
}

TEST_CASE("a sampling that was stopped in one of two processes is continued by one") {
  const TemporaryFolder folder;
  train(folder.path());
  const std::string words = " --num 60 --batch 2 --steps 50 --out ";
  sample(folder.path(), 1, words + "whole");
  Processes run(folder.path(), {"runs/run" + words + "parts" + kJudging}, environments(2), {}, "sample");
  REQUIRE_MESSAGE(run.wait_for(0, "sampling"), run.output());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  run.signal(1, SIGTERM);
  run.wait();
  for (int rank = 0; rank < 2; ++rank) CHECK_MESSAGE(run.status(rank) == 1, run.output());
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(run.messages()[0].find("sampling was stopped after ") != std::string::npos, run.messages()[0]);
  sample(folder.path(), 1, words + "parts");
  CHECK(sha256_of_file(folder.path() / "parts/samples.npz") == sha256_of_file(folder.path() / "whole/samples.npz"));
}

TEST_CASE("a killed process ends a sampling, and the first says which one is gone") {
  const TemporaryFolder folder;
  train(folder.path());
  Processes run(folder.path(), {"runs/run --num 100000 --batch 2 --steps 50 --out endless" + kJudging}, environments(3),
                {}, "sample");
  REQUIRE_MESSAGE(run.wait_for(0, "sampling"), run.output());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  run.signal(2, SIGKILL);
  run.wait();
  CHECK(run.status(0) == 1);
  CHECK(run.status(1) == 1);
  REQUIRE_MESSAGE(run.messages().size() == 1, run.output());
  CHECK_MESSAGE(run.messages()[0].find("rank 2 on ") != std::string::npos, run.messages()[0]);
}

TEST_CASE("scores of images drawn by several processes are those of one, bit for bit") {
  const TemporaryFolder folder;
  train(folder.path());
  const Value one = evaluated(folder.path(), 1);
  CHECK(to_json(evaluated(folder.path(), 2)) == to_json(one));
  CHECK(to_json(evaluated(folder.path(), 3)) == to_json(one));
}
