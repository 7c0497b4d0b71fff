#include "framework/training/best_checkpoint.h"

#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/support/files.h"
#include "framework/training/checkpoint.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// Folders that have only the names of checkpoints.
RunFolder run_with_checkpoints(const fs::path& path) {
  const RunFolder run = RunFolder::create(path, Value(Value::Table{}));
  for (const char* name : {"000000000008", "000000000016", "000000000024"}) {
    fs::create_directories(run.checkpoints() / name);
    write_file(run.checkpoints() / name / "state.json", "{}");
  }
  return run;
}

}  // namespace

TEST_CASE("the best checkpoint outlives newer ones until another is better") {
  const TemporaryFolder folder;
  const RunFolder run = run_with_checkpoints(folder.path() / "run");
  CHECK(best_checkpoint(run).empty());
  keep_as_best(run, run.checkpoints() / "000000000008");
  CHECK(fs::equivalent(run.checkpoints() / "best", run.checkpoints() / "000000000008"));
  const auto ignore = [](const std::string&) {};
  Checkpoint::remove_old(run, run.checkpoints() / "000000000024", 1, ignore);
  CHECK(fs::exists(run.checkpoints() / "000000000008"));
  CHECK_FALSE(fs::exists(run.checkpoints() / "000000000016"));
  keep_as_best(run, run.checkpoints() / "000000000024");
  Checkpoint::remove_old(run, run.checkpoints() / "000000000024", 1, ignore);
  CHECK_FALSE(fs::exists(run.checkpoints() / "000000000008"));
  CHECK(best_checkpoint(run).filename() == "000000000024");
  forget_best(run);
  CHECK(best_checkpoint(run).empty());
}

TEST_CASE("anything else named best is never replaced") {
  const TemporaryFolder folder;
  const RunFolder run = run_with_checkpoints(folder.path() / "run");
  fs::create_directory(run.checkpoints() / "best");
  CHECK_THROWS_AS(keep_as_best(run, run.checkpoints() / "000000000008"), Error);
  forget_best(run);
  CHECK(fs::is_directory(run.checkpoints() / "best"));

  fs::remove(run.checkpoints() / "best");
  fs::create_directory_symlink("../../elsewhere/000000000016", run.checkpoints() / "best");
  CHECK(best_checkpoint(run).empty());
  CHECK_THROWS_AS(keep_as_best(run, run.checkpoints() / "000000000008"), Error);
  forget_best(run);
  CHECK(fs::read_symlink(run.checkpoints() / "best") == "../../elsewhere/000000000016");
}
