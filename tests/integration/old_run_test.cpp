#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// A copy of a run that was trained by version 0.1 for 24 images (tests/integration/run_of_0.1/old.toml).
fs::path old_run(const TemporaryFolder& folder) {
  fs::create_directories(folder.path() / "runs");
  const fs::path run = folder.path() / "runs" / "old";
  fs::copy(source_dir() / "tests/integration/run_of_0.1", run, fs::copy_options::recursive);
  fs::rename(run / "old.toml", folder.path() / "old.toml");
  return run;
}

}  // namespace

TEST_CASE("a run of version 0.1 can be trained further, sampled and exported") {
  const TemporaryFolder folder;
  const fs::path run = old_run(folder);
  const Outcome sampled = shell("casdm sample runs/old --num 2 --out before --allow-rebuilt", folder.path());
  CHECK_MESSAGE(sampled.status == 0, sampled.err);
  const Outcome exported = shell("casdm export runs/old --module theta --out theta.safetensors", folder.path());
  CHECK_MESSAGE(exported.status == 0, exported.err);

  const Outcome resumed =
      shell("casdm train --resume runs/old --allow-rebuilt --set train.total_images=32", folder.path());
  REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(fs::exists(run / "checkpoints/000000000032/optimizer.safetensors"));
  const std::string log = read_file(run / "metrics.jsonl");
  CHECK(log.starts_with(read_file(source_dir() / "tests/integration/run_of_0.1/metrics.jsonl")));
  CHECK(log.find("\"images\":32") != std::string::npos);
  CHECK_MESSAGE(resumed.err.find("from here on both are drawn by an image's position") != std::string::npos,
                resumed.err);
  CHECK(log.find(R"("draws":{"from":1,"to":2})") != std::string::npos);
  // The cosine and the moments continue where they were: the rate at the end of a run of 32 images is 0.
  const Outcome again =
      shell("casdm train --resume runs/old --allow-rebuilt --set train.total_images=40", folder.path());
  CHECK_MESSAGE(again.status == 0, again.err);
  CHECK_MESSAGE(again.err.find("drawn by an image's position") == std::string::npos, again.err);
}

TEST_CASE("an experiment file of version 0.1 trains unchanged") {
  const TemporaryFolder folder;
  old_run(folder);
  const Outcome outcome = shell("casdm train old.toml --set run.name=new", folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
}
