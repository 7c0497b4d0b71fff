#include <doctest/doctest.h>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

namespace fs = std::filesystem;
using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr const char* kTrain = "casdm train small.toml --overwrite --set run.seed=5 ";

/// A complete run, and what it holds.
struct Earlier {
  Earlier() {
    write_small_config(folder.path());
    REQUIRE(shell("casdm train small.toml", folder.path()).status == 0);
    config = read_file(run / "config.toml");
  }
  bool is_there(const fs::path& at) const {
    return fs::exists(at / "checkpoints") && !fs::is_empty(at / "checkpoints") &&
           read_file(at / "config.toml") == config;
  }

  TemporaryFolder folder;
  const fs::path run = folder.path() / "runs" / "small", aside = folder.path() / "runs" / "small.replaced";
  std::string config;
};

}  // namespace

TEST_CASE("a run is replaced only by one that has taken a step") {
  const Earlier earlier;
  for (const char* failing : {"--set 'evaluate={every_images=8,reference=\"nowhere\"}'",
                              "--set 'timesteps={type=\"loss_second_moment\",terms=[\"none\"]}'"}) {
    const Outcome outcome = shell(text(kTrain, failing), earlier.folder.path());
    CHECK_MESSAGE(outcome.status == 2, outcome.err);
    CHECK_MESSAGE(earlier.is_there(earlier.run), failing);
    CHECK_FALSE(fs::exists(earlier.aside));
  }
  const Outcome replacing = shell(kTrain, earlier.folder.path());
  REQUIRE_MESSAGE(replacing.status == 0, replacing.err);
  CHECK_FALSE(earlier.is_there(earlier.run));
  CHECK_FALSE(fs::exists(earlier.aside));
}

TEST_CASE("a run is not replaced while a run set aside in it is trained") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  REQUIRE(
      shell("casdm train small.toml --set checkpoint.every_images=8 --set log.sample_count=0", folder.path()).status ==
      0);
  REQUIRE(shell("casdm train --resume runs/small/checkpoints/000000000008 --set optimizer.learning_rate=0.01",
                folder.path())
              .status == 0);
  // Another way in the run that was set aside sets one aside in it.
  REQUIRE(
      shell("casdm train --resume runs/small/set-aside-1/checkpoints/000000000016 --set optimizer.learning_rate=0.02",
            folder.path())
          .status == 0);
  for (const std::string trained : {"runs/small/set-aside-1", "runs/small/set-aside-1/set-aside-1"}) {
    CAPTURE(trained);
    const fs::path kept = folder.path() / trained / "checkpoints/000000000024";
    REQUIRE(fs::exists(kept));
    const Outcome outcome =
        shell("casdm train --resume " + trained +
                  " --set train.total_images=100k --set checkpoint.every_images=100k >side.log 2>&1 & "
                  "for i in $(seq 600); do grep -q 'total_images\":{' " +
                  trained +
                  "/metrics.jsonl && break; sleep 0.1; done; casdm train small.toml --overwrite; "
                  "status=$?; kill $!; wait $!; exit $status",
              folder.path());
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(outcome.err.find("another process is training in ") != std::string::npos, outcome.err);
    CHECK(fs::exists(kept));
    CHECK_FALSE(fs::exists(folder.path() / "runs/small.replaced"));
  }
}

TEST_CASE("the run that comes back has its best checkpoint, and nothing stays of the one that failed") {
  const TemporaryFolder folder;
  write_small_config(folder.path(),
                     "[evaluate]\nevery_images = 8\nnum = 8\nreference_num = 40\nkeep_best = \"pixels.frechet\"\n"
                     "judges = [{type = \"pixels\"}]\n");
  REQUIRE(shell("casdm train small.toml", folder.path()).status == 0);
  fs::create_directory(folder.path() / "broken");
  write_file(folder.path() / "broken/a.png", "no image");
  const fs::path run = folder.path() / "runs/small", best = fs::read_symlink(run / "checkpoints/best");
  for (const char* failing : {"'data={type=\"folder\",path=\"broken\",image_size=16}' --set evaluate.every_images=0 "
                              "--set evaluate.keep_best=''",
                              "'metrics=[{type=\"l1\",weight=1e38},{type=\"l2\",weight=1e38}]'"}) {
    const Outcome outcome = shell(text(kTrain, "--set log.tensorboard=true --set ", failing), folder.path());
    CHECK_MESSAGE(outcome.status == 1, outcome.err);
    CHECK(fs::read_symlink(run / "checkpoints/best") == best);
    CHECK(fs::exists(run / "metrics.jsonl"));
    CHECK_FALSE(fs::exists(folder.path() / "runs/small.replaced"));
  }
}

TEST_CASE("a run that a killed process had set aside comes back, or is replaced in the end") {
  const Earlier earlier;
  write_file(earlier.run / ".tmp-replaced", "");
  fs::rename(earlier.run, earlier.aside);
  SUBCASE("nothing had taken its place") {
    const Outcome again = shell("casdm train small.toml", earlier.folder.path());
    CHECK(again.status == 2);
    CHECK_MESSAGE(contains(again.err, "casdm train --resume"), again.err);
    CHECK_MESSAGE(contains(again.err, "small.replaced, which an earlier --overwrite had set aside, is"), again.err);
    CHECK_FALSE(fs::exists(earlier.run / ".tmp-replaced"));
    CHECK(earlier.is_there(earlier.run));
    CHECK_FALSE(fs::exists(earlier.aside));
  }
  SUBCASE("the new run was still empty") {
    fs::create_directories(earlier.run / "checkpoints");
    write_file(earlier.run / "config.toml", earlier.config);
    REQUIRE(shell(kTrain, earlier.folder.path()).status == 0);
    CHECK_FALSE(fs::exists(earlier.aside));
  }
  SUBCASE("the new run had begun, and only the removal had failed") {
    fs::copy(earlier.aside, earlier.run, fs::copy_options::recursive);
    fs::remove(earlier.run / ".tmp-replaced");
    const Outcome again = shell(kTrain, earlier.folder.path());
    CHECK_MESSAGE(again.status == 0, again.err);
    CHECK_MESSAGE(contains(again.err, "small.replaced, which an earlier --overwrite had set aside, is removed"),
                  again.err);
    CHECK_FALSE(earlier.is_there(earlier.run));
    CHECK_FALSE(fs::exists(earlier.aside));
  }
  SUBCASE("the earlier one was trained further") {
    fs::copy(earlier.aside, earlier.run, fs::copy_options::recursive);
    fs::remove(earlier.run / ".tmp-replaced");
    REQUIRE(
        shell("casdm train --resume runs/small.replaced --set train.total_images=32", earlier.folder.path()).status ==
        0);
    const Outcome refused = shell(kTrain, earlier.folder.path());
    CHECK_MESSAGE(refused.status == 2, refused.err);
    CHECK_MESSAGE(contains(refused.err, "small.replaced\", which exists; remove that, or rename it"), refused.err);
    CHECK(fs::exists(earlier.aside / "checkpoints/000000000032"));
    CHECK(earlier.is_there(earlier.run));
  }
  SUBCASE("the new run was stopped before its first step") {
    fs::copy(earlier.aside, earlier.run, fs::copy_options::recursive);
    for (const char* name : {"metrics.jsonl", ".tmp-replaced", "checkpoints"}) fs::remove_all(earlier.run / name);
    fs::create_directory(earlier.run / "checkpoints");
    fs::copy(earlier.aside / "checkpoints/000000000024", earlier.run / "checkpoints/000000000000",
             fs::copy_options::recursive);
    SUBCASE("once") {}
    SUBCASE("and again after a resume") {
      write_file(earlier.run / "metrics.jsonl", "{\"resumed\":true,\"images\":0,\"step\":0}\n");
    }
    const Outcome refused = shell(kTrain, earlier.folder.path());
    CHECK(refused.status == 2);
    CHECK_MESSAGE(contains(refused.err, "small.replaced\", where the run that "), refused.err);
    CHECK(earlier.is_there(earlier.run));
    CHECK(earlier.is_there(earlier.aside));
  }
}

TEST_CASE("a run that the user named like one that was set aside is neither moved nor removed") {
  const Earlier earlier;
  fs::rename(earlier.run, earlier.aside);
  for (int time = 0; time < 2; ++time) {  // first nothing has its old name, then the new run
    const Outcome outcome = shell(kTrain, earlier.folder.path());
    CHECK_MESSAGE(outcome.status == (time == 0 ? 0 : 2), outcome.err);
    CHECK(earlier.is_there(earlier.aside));
    CHECK(fs::exists(earlier.run / "checkpoints"));
  }
}
