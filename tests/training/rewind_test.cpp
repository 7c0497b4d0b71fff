#include "framework/training/rewind.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "casdm/error.h"
#include "framework/support/files.h"
#include "framework/training/best_checkpoint.h"
#include "framework/training/checkpoint.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// What the program writes into its PNG files.
const std::string kOurGrid("grid Software\0casdm 0", 22);

void put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

/// A run that logged every 8 images, with a grid and a snapshot every 16, and these checkpoints.
RunFolder run_of(const fs::path& path, std::int64_t total, const std::vector<std::int64_t>& checkpoints) {
  RunFolder run = RunFolder::create(path, Value::Table{});
  for (std::int64_t images = 8; images <= total; images += 8) {
    run.append(Value::Table{{"images", images}});
    if (images % 16 != 0) continue;
    put(run.samples() / (std::to_string(images) + ".png"), kOurGrid);
    put(run.ema() / ("0000000000" + std::to_string(images) + "-0.05.safetensors"), "snapshot");
  }
  put(run.samples() / "mine.png", "mine");
  put(run.ema() / "notes.txt", "mine");
  for (const std::int64_t images : checkpoints) {
    const Value numbers = Value::Table{{"images", images}, {"num_classes", 0}};
    const NamedTensors weights = {{"theta.a", at::ones({2})}};
    Checkpoint::save(run, {numbers, {{"weights", weights}, {"ema", weights}}, Value::Table{}, {}});
  }
  return run;
}

constexpr const char* kTwoLines = "{\"images\":8}\n{\"images\":16}\n";

}  // namespace

TEST_CASE("a run that continues where it ended stays unchanged") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 32, {16, 32});
  const std::string log = read_file(run.log());
  rewind(run, 32, true);
  rewind(run, 32, false);
  CHECK(read_file(run.log()) == log);
  CHECK(names_in(run.path()) ==
        std::vector<std::string>{".lock", "checkpoints", "config.toml", "ema", "metrics.jsonl", "samples"});
  CHECK(names_in(run.samples()) == std::vector<std::string>{"16.png", "32.png", "mine.png"});
}

TEST_CASE("an incomplete last line is never set aside, however the run continues") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 32, {32});
  put(run.log(), kTwoLines + std::string("{\"images\":2"));
  rewind(run, 32, false);
  CHECK_FALSE(fs::exists(run.path() / "set-aside-1"));
  run.append(Value::Table{{"images", 32}});
  CHECK(read_file(run.log()) == kTwoLines + std::string("{\"images\":32}\n"));
}

TEST_CASE("files that a killed run will write again are removed") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 40, {16});
  put(run.path() / "metrics.jsonl", read_file(run.log()) + "{\"images\":4");
  rewind(run, 16, true);
  CHECK(read_file(run.log()) == kTwoLines);
  CHECK(names_in(run.path()) ==
        std::vector<std::string>{".lock", "checkpoints", "config.toml", "ema", "metrics.jsonl", "samples"});
  CHECK(names_in(run.samples()) == std::vector<std::string>{"16.png", "mine.png"});
  CHECK(names_in(run.ema()) == std::vector<std::string>{"000000000016-0.05.safetensors", "notes.txt"});
}

TEST_CASE("an evaluation stays if its checkpoint is lost and will be made again") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 32, {16});
  const fs::path record = run.path() / "evaluation/000000000032-ema-0123456789abcdef.json";
  put(record, "{}");
  rewind(run, 16, true);
  CHECK(fs::exists(record));
  CHECK_FALSE(fs::exists(run.samples() / "32.png"));
  rewind(run, 16, false);
  CHECK_FALSE(fs::exists(record));
  CHECK(fs::exists(run.path() / "set-aside-1/evaluation" / record.filename()));
}

TEST_CASE("unreadable lines and marks stay with the line before them") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 8, {8});
  const std::string kept = "{\"images\":8}\nnot json\n{\"resumed\":{},\"images\":8}\n[1]\n";
  put(run.log(), kept + "{\"images\":16}\nnot json\n{\"resumed\":{},\"images\":12}\n{\"images\":16}\n");
  rewind(run, 8, true);
  CHECK(read_file(run.log()) == kept);
  rewind(run, 0, true);
  CHECK(read_file(run.log()).empty());
}

TEST_CASE("going back to an older checkpoint keeps the later ones as a separate run") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 48, {16, 32, 48});
  const std::string log = read_file(run.log());
  put(run.checkpoints() / "best" / "state.json", "mine");
  rewind(run, 16, true);
  CHECK(names_in(run.checkpoints()) == std::vector<std::string>{"000000000016", "best"});
  CHECK(Checkpoint::open(run.path()).images() == 16);
  CHECK(read_file(run.log()) == kTwoLines);
  CHECK(names_in(run.samples()) == std::vector<std::string>{"16.png", "mine.png"});

  const RunFolder aside = RunFolder::open(run.path() / "set-aside-1");
  CHECK(names_in(aside.checkpoints()) == std::vector<std::string>{"000000000032", "000000000048"});
  CHECK(Checkpoint::open(aside.path()).images() == 48);
  CHECK(read_file(aside.log()) == log);
  CHECK(names_in(aside.samples()) == std::vector<std::string>{"16.png", "32.png", "48.png"});
  CHECK(names_in(aside.ema()).size() == 3);

  // A second time, starting from the branch.
  run.append(Value::Table{{"images", 24}});
  rewind(run, 16, false);
  CHECK(read_file(run.path() / "set-aside-2" / "metrics.jsonl") == kTwoLines + std::string("{\"images\":24}\n"));
  CHECK_FALSE(fs::exists(run.path() / "set-aside-2" / "config.toml"));
  CHECK(read_file(run.log()) == kTwoLines);
}

TEST_CASE("the link to the best checkpoint goes with the branch that holds it") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 48, {16, 32, 48});
  keep_as_best(run, run.checkpoints() / "000000000032");
  rewind(run, 16, true);
  const RunFolder aside = RunFolder::open(run.path() / "set-aside-1");
  CHECK(names_in(aside.checkpoints()) == std::vector<std::string>{"000000000032", "000000000048", "best"});
  CHECK(fs::equivalent(best_checkpoint(aside), aside.checkpoints() / "000000000032"));
  CHECK(names_in(run.checkpoints()) == std::vector<std::string>{"000000000016"});

  // One that stays is the best of what stays.
  const RunFolder other = run_of(folder.path() / "b", 32, {16, 32});
  keep_as_best(other, other.checkpoints() / "000000000016");
  rewind(other, 16, true);
  CHECK(names_in(other.path() / "set-aside-1/checkpoints") == std::vector<std::string>{"000000000032"});
  CHECK(best_checkpoint(other).filename() == "000000000016");
}

TEST_CASE("nearest images for samples of an abandoned branch go with it, and those of the checkpoint stay") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 32, {16, 32});
  const fs::path records = run.path() / "evaluation";
  const std::string later = "nearest-0123456789abcdef.json", kept = "nearest-00000000000000aa.json";
  put(records / later, "{\"checkpoint_images\":32}");
  put(records / kept, "{\"checkpoint_images\":16}");
  put(records / "nearest-mine.json", "{\"checkpoint_images\":32}");
  put(records / "nearest-00000000000000bb.json", "{");
  rewind(run, 16, true);
  CHECK(names_in(records) == std::vector<std::string>{kept, "nearest-00000000000000bb.json", "nearest-mine.json"});
  CHECK(names_in(run.path() / "set-aside-1/evaluation") == std::vector<std::string>{kept, later});
}

TEST_CASE("a process killed while going back loses nothing, and the newest checkpoint is the old or the new one") {
  const TemporaryFolder folder;
  constexpr int kKills = 30;
  std::chrono::microseconds whole{};
  for (int kill = kKills; kill >= 0; --kill) {
    const fs::path path = folder.path() / std::to_string(kill);
    const RunFolder run = run_of(path, 48, {16, 32, 48});
    const std::string log = read_file(run.log());
    const pid_t child = ::fork();
    if (child == 0) {
      rewind(run, 16, true);
      ::_exit(0);
    }
    // The first process ends by itself, which shows how long it takes; the last one is killed at once.
    const auto start = std::chrono::steady_clock::now();
    if (kill < kKills) std::this_thread::sleep_for(whole * kill / kKills);
    if (kill < kKills) ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    if (kill == kKills) {
      whole = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
      CHECK(Checkpoint::open(path).images() == 16);
    }
    const std::int64_t newest = Checkpoint::open(path).images();
    const fs::path aside = path / "set-aside-1";
    CHECK((newest == 16 || newest == 48));
    CHECK(read_file((newest == 48 ? path : aside) / "metrics.jsonl") == log);
    for (const char* name : {"000000000032", "000000000048"}) {
      CHECK((fs::exists(path / "checkpoints" / name) || fs::exists(aside / "checkpoints" / name)));
    }
    CHECK((fs::exists(run.samples() / "48.png") || fs::exists(aside / "samples" / "48.png")));
    RunFolder again = RunFolder::open(path);
    rewind(again, 16, true);
    CHECK(Checkpoint::open(path).images() == 16);
    CHECK(read_file(run.log()) == kTwoLines);
  }
}

TEST_CASE("going back never follows a link") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 32, {16});
  put(folder.path() / "theirs" / "32.png", kOurGrid);
  fs::remove_all(run.samples());
  fs::create_directory_symlink(folder.path() / "theirs", run.samples());
  rewind(run, 16, true);
  CHECK(read_file(folder.path() / "theirs" / "32.png") == kOurGrid);
  put(folder.path() / "log", "{\"images\":99}\n");
  fs::remove(run.log());
  fs::create_symlink(folder.path() / "log", run.log());
  CHECK_THROWS_WITH_AS(rewind(run, 16, true), doctest::Contains("metrics.jsonl is not a regular file"), Error);
  CHECK(read_file(folder.path() / "log") == "{\"images\":99}\n");
}
