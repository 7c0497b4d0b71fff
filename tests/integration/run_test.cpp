#include <doctest/doctest.h>

#include <fstream>

#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

bool holds(const std::string& content, const std::string& part) { return content.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a run's name never leads out of its folder, and no user's file is removed") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  fs::create_directory(folder.path() / "exp1");
  std::ofstream(folder.path() / "exp1" / "notes.txt") << "mine";
  for (const char* name : {"../exp1", "..", ".", "", "a/b", "/etc/x", "x/"}) {
    const Outcome outcome =
        shell(std::string("casdm train small.toml --set train.accumulate=3 --set 'run.name=\"") + name + "\"'",
              folder.path());
    CHECK_MESSAGE(outcome.status == 2, name);
    CHECK_MESSAGE(holds(outcome.err, "run.name: expected"), outcome.err);
  }
  CHECK(read_file(folder.path() / "exp1" / "notes.txt") == "mine");
  CHECK_FALSE(fs::exists(folder.path() / "runs"));

  // A name taken by something else, and a failure after the folder was created.
  fs::create_directories(folder.path() / "runs" / "taken");
  std::ofstream(folder.path() / "runs" / "taken" / "notes.txt") << "mine";
  const Outcome taken = shell("casdm train small.toml --set run.name=taken", folder.path());
  CHECK(taken.status == 2);
  CHECK_MESSAGE(holds(taken.err, "runs/taken exists and is not a run folder; choose another name"), taken.err);
  const Outcome failed = shell("casdm train small.toml --set run.name=fails --set train.accumulate=3", folder.path());
  CHECK(failed.status == 2);
  CHECK(std::distance(fs::directory_iterator(folder.path() / "runs"), fs::directory_iterator()) == 1);
  CHECK(read_file(folder.path() / "runs" / "taken" / "notes.txt") == "mine");
}

TEST_CASE("going back to an older checkpoint starts a branch, which resume, sample and export follow") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const fs::path run = folder.path() / "runs" / "small";
  const std::string keep = " --set checkpoint.keep_last=3 --set log.sample_count=0";
  const Outcome train = shell("casdm train small.toml --set train.total_images=40" + keep, folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);  // 24 32 40
  const std::string old = sha256_of_file(run / "checkpoints/000000000032/weights.safetensors");
  const Outcome branch = shell(
      "casdm train --resume runs/small/checkpoints/000000000024 --set optimizer.learning_rate=1e-5 "
      "--set train.total_images=32" +
          keep,
      folder.path());
  REQUIRE_MESSAGE(branch.status == 0, branch.err);
  CHECK(fs::exists(run / "checkpoints/000000000024"));
  CHECK(sha256_of_file(run / "checkpoints/000000000032/weights.safetensors") != old);
  CHECK_FALSE(fs::exists(run / "checkpoints/000000000040"));

  const Outcome exported = shell("casdm export runs/small --module theta --out a.safetensors", folder.path());
  CHECK_MESSAGE(holds(exported.out, "runs/small/checkpoints/000000000032, theta"), exported.out);
  const Outcome resumed = shell("casdm train --resume runs/small --set train.total_images=32", folder.path());
  CHECK_MESSAGE(holds(resumed.err, "the run is complete (32 images)"), resumed.err);

  // What was set aside is itself a run.
  CHECK(sha256_of_file(run / "set-aside-1/checkpoints/000000000032/weights.safetensors") == old);
  const Outcome left = shell("casdm export runs/small/set-aside-1 --module theta --out b.safetensors", folder.path());
  CHECK_MESSAGE(holds(left.out, "set-aside-1/checkpoints/000000000040, theta"), left.err);
  const Outcome sample = shell("casdm sample runs/small/set-aside-1 --num 1 --out s", folder.path());
  CHECK_MESSAGE(sample.status == 0, sample.err);
}

TEST_CASE("a second training of a run is refused and names the first, and sampling holds what it reads") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome outcome = shell(
      "casdm train small.toml --set train.total_images=100M --set checkpoint.every_images=4 "
      "--set checkpoint.keep_last=1 2> training & p=$!\n"
      "while ! ls runs/small/checkpoints/0*/state.json; do sleep 0.1; done\n"
      "casdm train --resume runs/small; echo \"status $? of $p\"\n"
      "for i in 1 2 3 4 5 6; do casdm sample runs/small --num 1 --steps 1 --out s$i || echo failed; done\n"
      "kill -TERM $p; wait $p; echo \"ended with $?\"",
      folder.path());
  CHECK_MESSAGE(holds(outcome.err, "another process is training in runs/small: process "), outcome.err);
  CHECK_MESSAGE(holds(outcome.out, "status 1 of "), outcome.out);
  const std::size_t at = outcome.out.find("status 1 of ") + 12;
  const std::string pid = outcome.out.substr(at, outcome.out.find('\n', at) - at);
  CHECK_MESSAGE(holds(outcome.err, "process " + pid + " on "), outcome.err);
  CHECK_MESSAGE(!holds(outcome.out, "failed"), outcome.err);
  CHECK_MESSAGE(holds(outcome.out, "ended with 0"), outcome.out);
}

TEST_CASE("weights with a flipped bit are refused by every command that reads them") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome train =
      shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0", folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  REQUIRE(shell("casdm export runs/small --module theta --out theta.safetensors", folder.path()).status == 0);
  CHECK(shell("casdm import theta.safetensors --out again.safetensors", folder.path()).status == 0);
  for (const char* name : {"theta.safetensors", "again.safetensors"}) {
    std::string content = read_file(folder.path() / name);
    content[content.size() - 2] = static_cast<char>(content[content.size() - 2] ^ 16);
    write_file(folder.path() / name, content);
    for (const std::string& command :
         {std::string("casdm import ") + name + " --out c.safetensors",
          std::string("casdm train small.toml --set run.name=b --set 'init=[{module=\"theta\", from=\"") + name +
              "\"}]'"}) {
      const Outcome outcome = shell(command, folder.path());
      CHECK_MESSAGE(outcome.status == 1, command);
      CHECK_MESSAGE(holds(outcome.err, std::string(name) + " is altered"), outcome.err);
    }
  }
  CHECK_FALSE(fs::exists(folder.path() / "runs" / "b"));
}

TEST_CASE("a run whose checkpoints were moved away starts anew and keeps its log and grids") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const fs::path run = folder.path() / "runs" / "small";
  REQUIRE(shell("casdm train small.toml", folder.path()).status == 0);
  const std::string log = read_file(run / "metrics.jsonl");
  fs::rename(run / "checkpoints", folder.path() / "moved");
  const Outcome outcome = shell("casdm train --resume runs/small", folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(read_file(run / "set-aside-1" / "metrics.jsonl") == log);
  CHECK(fs::exists(run / "set-aside-1" / "samples" / "24.png"));
  CHECK(fs::exists(run / "checkpoints" / "000000000024"));
}

TEST_CASE("a component's messages appear on stderr with its name, escaped, and only once if requested") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome train = shell(
      "casdm train small.toml --set train.total_images=12 --set 'metrics=[{type=\"faulty\",fault=\"log\"}]' --plugin " +
          std::string(CASDM_TEST_PLUGIN_DIR) + "/metric_faulty.so",
      folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  CHECK(train.out == "runs/small\n");
  for (int call = 1; call <= 3; ++call) {
    CHECK_MESSAGE(holds(train.err, "\nfaulty: call " + std::to_string(call) + "\\x1b[2J\n"), train.err);
  }
  const std::string warning = "\nwarning: faulty: this metric is a test\n";
  const std::size_t first = train.err.find(warning);
  CHECK_MESSAGE(first != std::string::npos, train.err);
  CHECK(train.err.find(warning, first + 1) == std::string::npos);
}

TEST_CASE("a statistic that is not finite is warned of once and does not end the training") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome outcome =
      shell("casdm train small.toml --set metrics=[] --set log.every_images=4 --plugin '" CASDM_TEST_PLUGIN_DIR
            "/networks_broken.so' --set 'head={type=\"faulty_head\",fault=\"nan_statistic\",theta={type=\"unet\","
            "channels=8,channel_mult=[1,2],num_res_blocks=1,attention_resolutions=[],groups=4}}'",
            folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  const std::string warning = "warning: the head's statistic \"error\" is not finite up to 4 images";
  const std::size_t first = outcome.err.find(warning);
  CHECK_MESSAGE(first != std::string::npos, outcome.err);
  CHECK(outcome.err.find("statistic \"error\"", first + warning.size()) == std::string::npos);
}
