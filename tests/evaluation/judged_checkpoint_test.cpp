#include "framework/evaluation/judged_checkpoint.h"

#include <doctest/doctest.h>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/training/log_file.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("a record of a copied checkpoint is the run's while the run's log is the past of the copy") {
  const TemporaryFolder folder;
  const fs::path log = folder.path() / "metrics.jsonl", copy = folder.path() / "checkpoints/kept";
  const std::string until_8 = "{\"images\":4}\n{\"images\":8}\n";
  write_file(log, until_8);
  fs::create_directories(copy);
  const Value numbers = Value::Table{{"images", 8}, {kLogMark, mark_of_log(log)}};
  write_file(copy / "state.json", to_json(Value(Value::Table{{"numbers", numbers}})));
  const Value checkpoint = Value::Table{{"path", copy.string()}, {"images", 8}, {kFilesDigest, "0"}};
  const Value record = Value::Table{{"run", Value::Table{{"checkpoint", checkpoint}}}};
  const auto is_of_run = [&] { return JudgedCheckpoints(folder.path()).have_judged(record); };
  CHECK(is_of_run());
  write_file(log, until_8 + "{\"resumed\":true,\"images\":8}\n{\"images\":12}\n");
  CHECK(is_of_run());
  write_file(log, "{\"images\":4}\n{\"resumed\":true,\"images\":4}\n{\"images\":8}\n");
  CHECK_FALSE(is_of_run());
  // Another branch from 4 on, where nothing was logged between that and the copy.
  write_file(log, "{\"images\":4}\n");
  write_file(copy / "state.json",
             to_json(Value(Value::Table{{"numbers", Value::Table{{"images", 8}, {kLogMark, mark_of_log(log)}}}})));
  CHECK(is_of_run());
  write_file(log, "{\"images\":4}\n{\"resumed\":true,\"images\":4}\n{\"images\":12}\n");
  CHECK_FALSE(is_of_run());
  fs::remove_all(copy);
  CHECK(is_of_run());
}
