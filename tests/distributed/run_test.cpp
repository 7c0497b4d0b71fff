#include <doctest/doctest.h>

#include <sstream>

#include "casdm/text.h"
#include "casdm/value.h"
#include "distributed/runs.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "framework/support/sha256.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("losses are the same with 1, 2 and 4 processes, and the same bits with the same number of processes") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const std::string common = "small.toml --set log.grad_norms_every_images=24" + kPlugins + " --set run.name=";
  const fs::path runs = folder.path() / "runs";
  for (const int size : {1, 2, 4}) train(folder.path(), size, common + text("of", size));
  train(folder.path(), 2, common + "again");
  // Float32 sums are taken in a different order, and Adam's first steps are full-sized even where a gradient is near
  // zero.
  for (const char* run : {"of2", "of4"}) check_same(runs / "of1", runs / run, 1e-4);
  for (const char* file : {"weights", "ema", "optimizer", "timesteps", "metrics"}) {
    const fs::path end = fs::path("checkpoints") / "000000000048" / text(file, ".safetensors");
    CHECK_MESSAGE(sha256_of_file(runs / "of2" / end) == sha256_of_file(runs / "again" / end), file);
  }
}

TEST_CASE("a run stopped with two processes can continue with four, or one") {
  const TemporaryFolder folder;
  write_experiment(folder.path(), kEverything);
  const fs::path runs = folder.path() / "runs";
  train(folder.path(), 1, "small.toml --set run.name=whole" + kPlugins);
  train(folder.path(), 2, "small.toml --set train.total_images=24" + kPlugins);
  fs::copy(runs / "run", runs / "other", fs::copy_options::recursive);
  train(folder.path(), 4, "--resume runs/run --set train.total_images=48" + kPlugins);
  train(folder.path(), 1, "--resume runs/other --set train.total_images=48" + kPlugins);
  check_same(runs / "whole", runs / "run", 1e-4);
  check_same(runs / "whole", runs / "other", 1e-4);
}

TEST_CASE("samples drawn by several processes together have the same scores as those of one") {
  const TemporaryFolder folder;
  write_experiment(folder.path(),
                   "[evaluate]\nevery_images = 24\nnum = 7\nreference_num = 40\n[[evaluate.judges]]\ntype = "
                   "\"cells\"\nmetrics = [{ type = \"moments_gap\" }]\n");
  const fs::path runs = folder.path() / "runs";
  const auto scores_of = [&](const std::string& run) {
    std::vector<Value> scores;
    std::istringstream lines(read_file(runs / run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const Value record = from_json(line);
      if (const Value* evaluation = record.find("evaluation")) scores.push_back(*evaluation->find("scores"));
    }
    return scores;
  };
  const std::string common =
      "small.toml --set log.sample_count=3 --plugin '" CASDM_TEST_PLUGIN_DIR "/judging.so' --set run.name=";
  for (const int size : {1, 2}) train(folder.path(), size, common + text("of", size));
  const std::vector<Value> one = scores_of("of1"), two = scores_of("of2");
  REQUIRE(one.size() == 2);
  REQUIRE(two.size() == 2);
  // A pixel may be rounded to a different one of 256 values.
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(largest_difference(one[i], two[i]) < 1e-3);
  CHECK(fs::exists(runs / "of2/samples/48.png"));
}

TEST_CASE("a batch in parts is shared, too, and only one process writes") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  const fs::path runs = folder.path() / "runs";
  train(folder.path(), 1, "small.toml --set train.accumulate=4 --set run.name=whole");
  const std::string parts = "small.toml --set train.accumulate=4 --set run.name=parts";
  Processes run(folder.path(), {parts}, environments(2));
  run.wait();
  check_same(runs / "whole", runs / "parts", 1e-4);
  const std::string output = run.output();
  CHECK_MESSAGE(output.find("2 processes, each with 4 of the 8 images of a batch") != std::string::npos, output);
  CHECK_MESSAGE(output.find("data: ") == output.rfind("data: "), output);
  CHECK_MESSAGE(output.find("done: ") == output.rfind("done: "), output);
}

TEST_CASE("each process says which images it has left out, and none counts its own among all") {
  const TemporaryFolder folder;
  write_experiment(folder.path());
  fs::create_directories(folder.path() / "images");
  for (int i = 0; i < 12; ++i) {
    write_png(folder.path() / text("images/", i, ".png"), {16, 16, 3, std::vector<std::uint8_t>(768, 7)});
  }
  for (int i = 12; i < 16; ++i) write_file(folder.path() / text("images/", i, ".png"), "not an image");
  const std::string output = train(folder.path(), 2,
                                   "small.toml --set 'data={type=\"folder\", path=\"images\", image_size=16, "
                                   "skip_unreadable=true}'");
  std::istringstream lines(output);
  int of_rank[2] = {0, 0};
  for (std::string line; std::getline(lines, line);) {
    if (line.find("left out ") == std::string::npos) continue;
    CHECK_MESSAGE(line.find(" of the images that this process has read: ") != std::string::npos, line);
    for (int rank = 0; rank < 2; ++rank) of_rank[rank] += line.find(text(", of rank ", rank)) != std::string::npos;
  }
  CHECK_MESSAGE(of_rank[0] > 0, output);
  CHECK_MESSAGE(of_rank[1] > 0, output);
}
