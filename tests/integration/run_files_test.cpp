#include <doctest/doctest.h>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "integration/trained.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

TEST_CASE("a user's file with the name of a grid is left alone, with a message, and the training continues") {
  const Trained trained;
  const fs::path mine = trained.folder.path() / "runs/small/samples/32.png";
  write_file(mine, "mine");
  const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=32");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(read_file(mine) == "mine");
  CHECK_MESSAGE(contains(outcome.err, "samples/32.png was not written by this program and is left as it is"),
                outcome.err);
}

TEST_CASE("--overwrite removes a run and nothing else") {
  const Trained trained;
  CHECK(trained.run("casdm train small.toml").status == 2);
  const fs::path folder = trained.folder.path() / "runs/small";
  write_file(folder / "notes.txt", "mine");
  const Outcome refused = trained.run("casdm train small.toml --overwrite");
  CHECK(refused.status == 2);
  CHECK(contains(refused.err, "notes.txt"));
  CHECK(fs::exists(folder / "checkpoints/000000000024/state.json"));
  fs::remove(folder / "notes.txt");
  CHECK(trained.run("casdm train small.toml --overwrite --set head.theta.channels=7").status == 2);
  CHECK(fs::exists(folder / "checkpoints/000000000024/state.json"));
  // A user's copy has a name that the program never uses.
  const fs::path copy = folder / "checkpoints/000000000024.best";
  fs::copy(folder / "checkpoints/000000000024", copy);
  CHECK(contains(trained.run("casdm train small.toml --overwrite").err, "000000000024.best\" was not made"));
  CHECK(fs::exists(copy / "state.json"));
  fs::remove_all(copy);
  // Files in a run's folder that only look like those of a training are not removed either.
  for (const char* name : {"checkpoints/000000000024/best.safetensors", "checkpoints/000000000024/notes.txt",
                           "ema/my_average.safetensors", ".tmp-notes/a", "samples/20261126.png", "report.html",
                           "init.json", "events.out.tfevents.1764000000.myhost.4242.0"}) {
    fs::create_directories((folder / name).parent_path());
    write_file(folder / name, "mine");
    const Outcome kept = trained.run("casdm train small.toml --overwrite");
    CHECK_MESSAGE(contains(kept.err, "was not made by a training"), kept.err);
    CHECK(read_file(folder / name) == "mine");
    fs::remove(folder / name);
  }
  fs::remove(folder / ".tmp-notes");
  fs::create_directory_symlink("small", folder.parent_path() / "link");
  CHECK(contains(trained.run("casdm train small.toml --set run.name=link --overwrite").err, "is a link to \"small\""));
  CHECK(fs::is_symlink(folder.parent_path() / "link"));
  fs::remove(folder.parent_path() / "link");
  // Nor is a run removed from which the new one is to start.
  const Outcome start = trained.run(
      "casdm train small.toml --overwrite --set "
      "'init=[{module=\"theta\",from=\"runs/small/checkpoints/000000000024\"}]'");
  CHECK(start.status == 2);
  CHECK_MESSAGE(contains(start.err, "belongs to the run that --overwrite removes"), start.err);
  CHECK(fs::exists(folder / "checkpoints/000000000024/state.json"));
  CHECK(trained.run("casdm report runs/small").status == 0);
  fs::create_directory(folder / "evaluation");
  write_file(folder / "evaluation/nearest-0123456789abcdef.json", "{}");
  const std::string anew = "casdm train small.toml --overwrite --set train.total_images=8";
  const Outcome board = trained.run(anew + " --set log.tensorboard=true");
  CHECK_MESSAGE(board.status == 0, board.err);
  const Outcome again = trained.run(anew);
  CHECK_MESSAGE(again.status == 0, again.err);
  CHECK(trained.records().size() == 1);
  fs::create_directories(trained.folder.path() / "runs/other");
  write_file(trained.folder.path() / "runs/other/notes.txt", "mine");
  CHECK(trained.run("casdm train small.toml --overwrite --set run.name=other").status == 2);
  CHECK(read_file(trained.folder.path() / "runs/other/notes.txt") == "mine");
}

TEST_CASE("a user's files in a run are left alone whatever their names begin with") {
  const Trained trained;
  const fs::path run = trained.folder.path() / "runs/small";
  fs::create_directories(run / "evaluation");
  const std::vector<fs::path> mine = {run / "evaluation/2026-11-26-notes.md", run / "evaluation/90000-mine.json",
                                      run / "samples/20261126.png", run / "samples/0100.png"};
  for (const fs::path& file : mine) write_file(file, "mine");
  const fs::path evaluation = run / "evaluation/000000000099-ema-0123456789abcdef.json";
  write_file(evaluation, "{}");
  fs::remove_all(run / "checkpoints/000000000024");
  REQUIRE(trained.run(std::string(kResume)).status == 0);
  for (const fs::path& file : mine) CHECK_MESSAGE(fs::exists(file), file.string());
  CHECK(fs::exists(evaluation));  // no training repeats it
  fs::remove(evaluation);

  const std::string again = "casdm train small.toml --overwrite";
  for (const char* name :
       {"evaluation/notes.json", "evaluation/x.state", "samples/20261126.png", "report.html", "init.json",
        "events.out.tfevents.1764000000.myhost.4242.0", "events.out.tfevents.notes.txt"}) {
    for (const fs::path& file : mine) fs::remove(file);
    write_file(run / name, "mine");
    const Outcome refused = trained.run(again);
    CHECK(refused.status == 2);
    CHECK_MESSAGE(contains(refused.err, "was not made by a training"), refused.err);
    fs::remove(run / name);
  }
  for (const char* name : {"report.html", "init.json", "evaluation/000000000099-ema-0123456789abcdef.json"}) {
    fs::create_directory(run / name);
    write_file(run / name / "thesis.txt", "mine");
    CHECK(trained.run(again).status == 2);
    CHECK(fs::exists(run / name / "thesis.txt"));
    fs::remove_all(run / name);
  }
  CHECK(trained.run(again).status == 0);
}

TEST_CASE(
    "a run with a linked folder is not trained further: what is there may be someone else's, and cannot be set aside") {
  const Trained trained;
  const fs::path runs = trained.folder.path() / "runs";
  const std::string on = std::string(kResume) + " --set train.total_images=32";
  for (const char* name : {"checkpoints", "samples", "ema", "evaluation"}) {
    const fs::path folder = runs / "small" / name, big = trained.folder.path() / "big";
    const bool was_there = fs::exists(folder);
    if (was_there) fs::rename(folder, big);
    if (!was_there) fs::create_directory(big);
    fs::create_directory_symlink(big, folder);
    const Outcome outcome = trained.run(on);
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(contains(outcome.err, std::string("runs/small/") + name + " is a link to "), outcome.err);
    CHECK_FALSE(fs::exists(big / "000000000032"));
    CHECK(trained.run("casdm sample runs/small --num 1 --overwrite --out s").status == 0);
    fs::remove(folder);
    if (was_there) fs::rename(big, folder);
    fs::remove_all(big);
  }
  CHECK(trained.run(on).status == 0);
}

TEST_CASE("a log that is a pipe does not block") {
  const Trained trained;
  const Outcome outcome = trained.run(
      "rm runs/small/metrics.jsonl && mkfifo runs/small/metrics.jsonl && timeout 20 casdm report runs/small");
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(contains(outcome.err, "metrics.jsonl is not a regular file"), outcome.err);
}
