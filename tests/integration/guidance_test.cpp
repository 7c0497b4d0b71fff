#include <doctest/doctest.h>

#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// The compressed pixels of the grid that `casdm sample` draws with these options.
std::string grid(const fs::path& folder, const std::string& words) {
  const Outcome sample = shell("casdm sample runs/small --num 4 --overwrite --out s " + words, folder);
  REQUIRE_MESSAGE(sample.status == 0, sample.err);
  const std::string png = read_file(folder / "s" / "grid.png");
  return png.substr(png.find("IDAT"));  // after the text, which contains the guidance
}

}  // namespace

TEST_CASE("a conditional run samples with guidance of any scale") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), "[guidance]\nscale = 2.0\n");
  const Outcome train = shell(
      "casdm train small.toml --set data.use_labels=true --set data.label_dropout=0.2"
      " --set train.total_images=160 --set optimizer.learning_rate=1e-2",
      folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  const std::string own = grid(folder.path(), "");
  CHECK(own == grid(folder.path(), "--guidance 2"));
  CHECK(own != grid(folder.path(), "--guidance 1"));
  CHECK(own != grid(folder.path(), "--guidance 2 --set guidance.interval=[0.0,0.5]"));
  const std::string nowhere = "casdm sample runs/small --num 1 --out n --set guidance.interval=";
  CHECK(contains(shell(nowhere + "[0.99,1.0]", folder.path()).err, "guidance.interval: none of the sampler's steps"));
  // Without a label, labels have no effect.
  CHECK(grid(folder.path(), "--guidance 0 --label 1") == grid(folder.path(), "--guidance 0 --label 3"));
  CHECK(grid(folder.path(), "--guidance 1 --label 1") != grid(folder.path(), "--guidance 1 --label 3"));

  const Outcome negative = shell("casdm sample runs/small --num 1 --out n --guidance -1", folder.path());
  CHECK(negative.status == 2);
  CHECK_MESSAGE(negative.err.find("guidance.scale") != std::string::npos, negative.err);
  const Outcome null_label = shell("casdm sample runs/small --num 1 --out n --label 5", folder.path());
  CHECK(null_label.status == 2);
  CHECK_MESSAGE(null_label.err.find("the run has 5 classes") != std::string::npos, null_label.err);
}

TEST_CASE("guidance without labels or without label dropout says what is missing") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  REQUIRE(shell("casdm train small.toml --set train.total_images=4", folder.path()).status == 0);
  const Outcome unlabelled = shell("casdm sample runs/small --num 1 --out s --guidance 3", folder.path());
  CHECK(unlabelled.status == 2);
  for (const char* part : {"guidance.scale=3", "without labels", "data.use_labels = true", "data.label_dropout = 0.1"})
    CHECK_MESSAGE(unlabelled.err.find(part) != std::string::npos, unlabelled.err);

  const std::string labels = "casdm train small.toml --set data.use_labels=true --set train.total_images=4 ";
  REQUIRE(shell(labels + "--set run.name=labels", folder.path()).status == 0);
  const Outcome undropped = shell("casdm sample runs/labels --num 1 --out s --guidance 3", folder.path());
  CHECK(undropped.status == 2);
  CHECK_MESSAGE(undropped.err.find("data.label_dropout = 0.1") != std::string::npos, undropped.err);
  CHECK(shell("casdm sample runs/labels --num 1 --out s --guidance 1", folder.path()).status == 0);

  // Training refuses it, too.
  CHECK(shell(labels + "--set run.name=no --set guidance.scale=2", folder.path()).status == 2);
  const Outcome dropped = shell("casdm train small.toml --set data.label_dropout=0.1 --dry-run", folder.path());
  CHECK(dropped.status == 2);
  CHECK_MESSAGE(dropped.err.find("data.use_labels") != std::string::npos, dropped.err);
  const Outcome interval = shell(labels + "--dry-run --set guidance.interval=[0.6,0.2]", folder.path());
  CHECK(interval.status == 2);
  CHECK_MESSAGE(interval.err.find("guidance.interval") != std::string::npos, interval.err);
}
