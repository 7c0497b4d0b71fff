#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// tests/compat/VERSION of each released version: what README.md there describes.
std::vector<fs::path> versions() {
  std::vector<fs::path> result;
  for (const fs::directory_entry& entry : fs::directory_iterator(source_dir() / "tests/compat")) {
    if (entry.is_directory()) result.push_back(entry.path());
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// A copy of the version's files: the run in runs/old.
fs::path copy_of(const fs::path& version, const TemporaryFolder& folder) {
  const fs::path run = folder.path() / "runs" / "old";
  fs::create_directories(run.parent_path());
  fs::copy(version / "run", run, fs::copy_options::recursive);
  fs::copy(version / "experiment.toml", folder.path());
  fs::copy(version / "plugin.so", folder.path());
  return run;
}

}  // namespace

TEST_CASE("a run of any released version can be trained further, sampled and exported") {
  for (const fs::path& version : versions()) {
    CAPTURE(version.filename().string());
    const TemporaryFolder folder;
    const fs::path run = copy_of(version, folder);
    const std::string lines = read_file(run / "metrics.jsonl");
    const Outcome sampled = shell("casdm sample runs/old --num 2 --out before --allow-rebuilt", folder.path());
    CHECK_MESSAGE(sampled.status == 0, sampled.err);
    const Outcome exported = shell("casdm export runs/old --module theta --out theta.safetensors", folder.path());
    CHECK_MESSAGE(exported.status == 0, exported.err);
    const Outcome judged = shell(
        "casdm evaluate runs/old --num 8 --set evaluate.reference_num=20 --set 'evaluate.judges=[{type=\"pixels\"}]' "
        "--allow-rebuilt",
        folder.path());
    CHECK_MESSAGE(judged.status == 0, judged.err);
    CHECK_MESSAGE(fs::exists(run / "evaluation"), judged.err);
    const Outcome reported = shell("casdm report runs/old", folder.path());
    CHECK_MESSAGE(reported.status == 0, reported.err);

    const Outcome resumed =
        shell("casdm train --resume runs/old --allow-rebuilt --set train.total_images=32", folder.path());
    REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
    CHECK(fs::exists(run / "checkpoints/000000000032/optimizer.safetensors"));
    const std::string log = read_file(run / "metrics.jsonl");
    CHECK(log.starts_with(lines));
    CHECK(log.find("\"images\":32") != std::string::npos);
  }
}

TEST_CASE("draws of version 0.1 change where its run is trained further, and the log says it once") {
  const TemporaryFolder folder;
  const fs::path run = copy_of(source_dir() / "tests/compat/0.1.0", folder);
  const std::string resume = "casdm train --resume runs/old --allow-rebuilt --set train.total_images=";
  const Outcome first = shell(resume + "32", folder.path());
  REQUIRE_MESSAGE(first.status == 0, first.err);
  CHECK_MESSAGE(first.err.find("from here on both are drawn by an image's position") != std::string::npos, first.err);
  CHECK(read_file(run / "metrics.jsonl").find(R"("draws":{"from":1,"to":2})") != std::string::npos);
  // The cosine and the moments continue where they were: the rate at the end of a run of 32 images is 0.
  const Outcome again = shell(resume + "40", folder.path());
  CHECK_MESSAGE(again.status == 0, again.err);
  CHECK_MESSAGE(again.err.find("drawn by an image's position") == std::string::npos, again.err);
}

TEST_CASE("an experiment file of any released version trains unchanged") {
  for (const fs::path& version : versions()) {
    CAPTURE(version.filename().string());
    const TemporaryFolder folder;
    copy_of(version, folder);
    const Outcome outcome = shell("casdm train experiment.toml --set run.name=new", folder.path());
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
  }
}

TEST_CASE("a plugin that a released version built is described, and used or refused with what to do") {
  for (const fs::path& version : versions()) {
    CAPTURE(version.filename().string());
    const TemporaryFolder folder;
    copy_of(version, folder);
    const Outcome described = shell("casdm plugins inspect ./plugin.so", folder.path());
    CHECK_MESSAGE(described.status == 0, described.err);
    CHECK(described.out.find(text("sdk_version ", version.filename().string())) != std::string::npos);
    const Outcome checked = shell("casdm plugins check ./plugin.so", folder.path());
    if (checked.status == 0) continue;
    CHECK(checked.status == 1);
    CHECK_MESSAGE(checked.err.find("ebuild the plugin with this host's SDK") != std::string::npos, checked.err);
  }
}
