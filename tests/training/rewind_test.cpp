#include "framework/training/rewind.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "framework/support/files.h"
#include "framework/training/checkpoint.h"
#include "support/components.h"

using namespace casdm;
using casdm::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

void put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// A run that was logged every 8 images, with a grid and a snapshot every 16, and these checkpoints.
RunFolder run_of(const fs::path& path, std::int64_t total, const std::vector<std::int64_t>& checkpoints) {
  RunFolder run = RunFolder::create(path, Value::Table{});
  for (std::int64_t images = 8; images <= total; images += 8) {
    run.append(Value::Table{{"images", images}});
    if (images % 16 != 0) continue;
    put(run.samples() / (std::to_string(images) + ".png"), "grid");
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

TEST_CASE("a run that goes on where it ended stays as it is") {
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

TEST_CASE("what a killed run will write again is removed") {
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

TEST_CASE("lines that cannot be read and marks stay with the line before them") {
  const TemporaryFolder folder;
  const RunFolder run = run_of(folder.path() / "a", 8, {8});
  const std::string kept = "{\"images\":8}\nnot json\n{\"resumed\":{},\"images\":8}\n[1]\n";
  put(run.log(), kept + "{\"images\":16}\nnot json\n{\"resumed\":{},\"images\":12}\n{\"images\":16}\n");
  rewind(run, 8, true);
  CHECK(read_file(run.log()) == kept);
  rewind(run, 0, true);
  CHECK(read_file(run.log()).empty());
}

TEST_CASE("going back to an older checkpoint keeps the later ones as a run of its own") {
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

  // A second time, and from the branch.
  run.append(Value::Table{{"images", 24}});
  rewind(run, 16, false);
  CHECK(read_file(run.path() / "set-aside-2" / "metrics.jsonl") == kTwoLines + std::string("{\"images\":24}\n"));
  CHECK_FALSE(fs::exists(run.path() / "set-aside-2" / "config.toml"));
  CHECK(read_file(run.log()) == kTwoLines);
}
