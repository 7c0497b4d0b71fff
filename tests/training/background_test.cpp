#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "casdm/error.h"
#include "framework/support/files.h"
#include "framework/training/checkpoint_writer.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/step_record.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

namespace {

const std::string kHead = cascade_head() + "[[metrics]]\ntype = \"ssim\"\n";

/// Of a run with a checkpoint after every step, all of which are kept.
std::vector<std::string> every_step(const std::string& in_background) {
  return {"checkpoint.every_images=4", "checkpoint.keep_last=99", "checkpoint.in_background=" + in_background};
}

/// A value without what a clock determines.
std::string without_times(Value value) {
  for (const char* key : {"seconds", "images_per_second", kLogMark}) {
    if (value.find(key) != nullptr) value.set(key, 0);
  }
  return to_json(value);
}

void check_equal(const fs::path& a, const fs::path& b) {
  CHECK_MESSAGE(without_times(Checkpoint::open(a).numbers()) == without_times(Checkpoint::open(b).numbers()),
                a.string());
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    CHECK_MESSAGE(sha256_of_file(a / file) == sha256_of_file(b / file), (a / file).string());
  }
}

std::string faulty(int after) {
  return cascade_head() + "[[metrics]]\ntype = \"faulty\"\nfault = \"nan\"\nafter = " + std::to_string(after) + "\n";
}

CheckpointContent large_content(const Tensor& weights, const std::string& name = "weights") {
  Value numbers = Value::Table{{"images", 4}, {"num_classes", 0}};
  return {
      std::move(numbers), {{name, {{"theta.a", weights}}}, {"ema", {{"theta.a", weights}}}}, Value(Value::Table{}), {}};
}

}  // namespace

TEST_CASE("checkpoints that are written while the training goes on hold the state of their step, bit for bit") {
  const TemporaryFolder folder;
  for (const std::string mode : {"never", "always"}) {
    run(small_experiment(folder.path(), mode, kHead, every_step(mode)));
  }
  const auto all = [&](const std::string& mode) { return Checkpoint::all(RunFolder::open(folder.path() / mode)); };
  const auto between = all("never"), background = all("always");
  REQUIRE(between.size() == 8);
  REQUIRE(background.size() == 8);
  for (std::size_t i = 0; i < between.size(); ++i) check_equal(background[i].second, between[i].second);
  const std::vector<Value> lines = records(folder.path() / "never"), others = records(folder.path() / "always");
  REQUIRE(lines.size() == others.size());
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK(without_times(lines[i]) == without_times(others[i]));
}

TEST_CASE("snapshots of averages that are written while the training goes on are those of their step, bit for bit") {
  const TemporaryFolder folder;
  const std::string head = kHead + "[[ema.also]]\nname = \"narrow\"\nsigma_rel = 0.05\n";
  for (const std::string mode : {"never", "always"}) {
    std::vector<std::string> settings = every_step(mode);
    settings.insert(settings.end(), {"checkpoint.every_images=12", "ema.snapshot_every_images=8"});
    run(small_experiment(folder.path(), mode, head, settings));
  }
  const std::vector<EmaSnapshot> between = ema_snapshots(RunFolder::open(folder.path() / "never"));
  REQUIRE(between.size() == 4);
  for (const EmaSnapshot& snapshot : between) {
    const fs::path background = folder.path() / "always/ema" / snapshot.path.filename();
    CHECK_MESSAGE(sha256_of_file(background) == sha256_of_file(snapshot.path), background.string());
  }
}

TEST_CASE("a checkpoint is written after the snapshots that were begun before it, and not if one cannot be written") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder.path() / "run", Value::Table{});
  const std::vector<SnapshotContent> snapshots = {{4, 0.05, {{"theta.a", at::ones({16 << 20})}}},
                                                  {4, 0.1, {{"theta.a", at::ones({4})}}}};
  CheckpointWriter writer(run, 3);
  writer.begin(snapshots);
  writer.begin(large_content(at::ones({4})));
  while (fs::is_empty(run.checkpoints())) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(ema_snapshots(run).size() == 2);
  CHECK(writer.finish().images == 4);

  const RunFolder blocked = RunFolder::create(folder.path() / "blocked", Value::Table{});
  write_file(blocked.ema(), "not a folder");
  CheckpointWriter other(blocked, 3);
  other.begin(snapshots);
  other.begin(large_content(at::ones({4})));
  CHECK_THROWS_WITH_AS(other.finish(), doctest::Contains("ema cannot be created"), Error);
  CHECK(fs::is_empty(blocked.checkpoints()));
}

TEST_CASE("a run resumed from a checkpoint of the background is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", kHead));
  const std::vector<std::string> settings = every_step("always");
  std::vector<std::string> shorter = settings;
  shorter.emplace_back("train.total_images=16");
  run(small_experiment(folder.path(), "parts", kHead, shorter));
  const Checkpoint middle = Checkpoint::open(folder.path() / "parts/checkpoints/000000000012");
  fs::remove_all(folder.path() / "parts/checkpoints/000000000016");
  check_equal(resume(small_experiment(folder.path(), "parts", kHead, settings), middle).path(), whole.path());
}

TEST_CASE("old checkpoints are removed by the background, too") {
  const TemporaryFolder folder;
  std::vector<std::string> settings = every_step("always");
  settings.emplace_back("checkpoint.keep_last=2");
  run(small_experiment(folder.path(), "run", kHead, settings));
  const auto kept = Checkpoint::all(RunFolder::open(folder.path() / "run"));
  REQUIRE(kept.size() == 2);
  CHECK(kept.front().first == 28);
}

TEST_CASE("a failure names the checkpoint that is being written at that time, once it is on disk") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", faulty(5), every_step("always"));
  const std::string last = (folder.path() / "run/checkpoints/000000000020").string();
  CHECK_THROWS_WITH_AS(run(experiment), doctest::Contains(("the last good checkpoint is " + last).c_str()), NotFinite);
  CHECK(Checkpoint::open(folder.path() / "run").path() == last);
}

TEST_CASE("what is written in the background is a copy") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder.path() / "run", Value::Table{});
  const Tensor weights = at::ones({16 << 20});
  CheckpointWriter writer(run, 3);
  CHECK_FALSE(writer.is_begun());
  CheckpointContent content = large_content(weights);
  CHECK(bytes_of(tensors_of(content)) == 2 * weights.nbytes());
  copy_to_host(tensors_of(content));
  writer.begin(std::move(content));
  weights.zero_();
  CHECK(writer.is_begun());
  const CheckpointWriter::Written written = writer.finish();
  CHECK(written.images == 4);
  CHECK_FALSE(writer.is_begun());
  CHECK(Checkpoint::open(written.path).tensors("weights")[0].second.eq(1).all().item<bool>());
}

TEST_CASE(
    "copies for the background have the values of their tensors, and share memory only where most of it is copied") {
  const Tensor piece = at::arange(100, at::kFloat), large = at::arange(1000, at::kFloat);
  CheckpointContent content = large_content(at::ones({4}));
  const NamedTensors given = {{"first", piece.narrow(0, 0, 60).view({3, 4, 5})},
                              {"turned", piece.narrow(0, 64, 36).view({6, 6}).t()},
                              {"part", large.narrow(0, 500, 100)},
                              {"none", at::empty({0, 3})},
                              {"repeated", at::ones({1}).expand({5})},
                              {"step", at::tensor(7, at::kLong)}};
  content.tensors = {{"weights", given}};
  copy_to_host(tensors_of(content));
  const NamedTensors& copies = content.tensors.at("weights");
  for (std::size_t i = 0; i < given.size(); ++i) {
    CHECK_MESSAGE(at::equal(copies[i].second, given[i].second), given[i].first);
    CHECK_MESSAGE(copies[i].second.is_contiguous(), given[i].first);
    CHECK_FALSE(copies[i].second.is_alias_of(given[i].second));
  }
  CHECK(copies[0].second.storage().nbytes() == piece.nbytes());
  CHECK(copies[2].second.storage().nbytes() == given[2].second.nbytes());
}

TEST_CASE("a checkpoint that cannot be written in the background is reported where it is waited for") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder.path() / "run", Value::Table{});
  CheckpointWriter writer(run, 3);
  writer.begin(large_content(at::ones({4}), "not/a/name"));
  while (!writer.is_done()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK_THROWS_WITH_AS(writer.finish(), doctest::Contains("000000000004 could not be saved"), Error);
  CHECK_FALSE(writer.is_begun());
  CHECK(fs::is_empty(run.checkpoints()));
}
