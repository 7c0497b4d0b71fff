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

namespace {

/// The marks that resumes left in the log.
std::vector<Value> marks(const Trained& trained) {
  std::vector<Value> result;
  for (const Value& record : trained.records()) {
    if (record.find("resumed") != nullptr) result.push_back(record);
  }
  return result;
}

}  // namespace

TEST_CASE("what --set changes at a resume is kept at the next one, in config.toml and in the log") {
  const Trained trained;
  const Outcome first =
      trained.run(std::string(kResume) + " --set train.total_images=32 --set optimizer.learning_rate=5e-4");
  REQUIRE_MESSAGE(first.status == 0, first.err);
  CHECK(contains(first.err, "optimizer.learning_rate: 1e-04 -> 5e-04"));
  CHECK(contains(first.err, "the learning rate goes from 1e-04 to 5e-04"));
  const Outcome second = trained.run(std::string(kResume) + " --set train.total_images=40");
  REQUIRE_MESSAGE(second.status == 0, second.err);
  CHECK_FALSE(contains(second.err, "optimizer.learning_rate"));

  const std::vector<Value> found = marks(trained);
  REQUIRE(found.size() == 2);
  const Value* change = found[0].find("changed")->find("optimizer.learning_rate");
  REQUIRE(change != nullptr);
  CHECK(to_json(*change) == R"({"from":0.0001,"to":0.0005})");
  CHECK(found[0].find("images")->as_integer() == 24);
  CHECK(found[1].find("changed")->as_table().size() == 1);
  CHECK(trained.records().back().find("learning_rate")->as_number() == 5e-4);

  const Outcome shown = trained.run("casdm config show runs/small/config.toml");
  CHECK(contains(shown.out, "learning_rate = 5e-04"));
  CHECK(contains(shown.out, "total_images = 40"));
}

TEST_CASE("what --set changes is kept even if the resumed run is killed before its first checkpoint") {
  const Trained trained;
  trained.run(std::string(kResume) +
              " --set train.total_images=100k --set checkpoint.every_images=100k --set optimizer.learning_rate=5e-4 & "
              "for i in $(seq 600); do test $(wc -l < runs/small/metrics.jsonl) -gt 5 && break; sleep 0.1; done; "
              "kill -9 $!; wait");
  const Outcome next = trained.run(std::string(kResume) + " --set train.total_images=32");
  REQUIRE_MESSAGE(next.status == 0, next.err);
  CHECK(contains(next.err, "optimizer.learning_rate: 1e-04 -> 5e-04"));
  CHECK(trained.records().back().find("learning_rate")->as_number() == 5e-4);
}

TEST_CASE("a resumed run killed before its first checkpoint leaves nothing behind, whatever --set changed") {
  const Trained trained;
  const auto until = [&](const std::string& words, const std::string& is_there, const std::string& signal) {
    return trained.run(kResume + words + " & for i in $(seq 600); do test " + is_there +
                       " && break; sleep 0.1; done; kill -" + signal + " $!; wait $!");
  };
  until(" --set train.total_images=100k --set checkpoint.every_images=100k",
        "$(wc -l < runs/small/metrics.jsonl) -gt 5", "KILL");
  const Outcome next = until("", "$(grep -c resumed runs/small/metrics.jsonl) = 2", "TERM");
  CHECK_MESSAGE(next.status == 0, next.err);
  CHECK(contains(next.err, "changed at 24 images: train.total_images: 24 -> 100000"));
  CHECK_FALSE(fs::exists(trained.folder.path() / "runs/small/set-aside-1"));
}

TEST_CASE("a config.toml that was edited is reported and does not change the run") {
  const Trained trained;
  const fs::path config = trained.folder.path() / "runs/small/config.toml";
  std::string toml = read_file(config);
  const std::size_t at = toml.find("learning_rate = 1e-04");
  REQUIRE(at != std::string::npos);
  write_file(config, toml.replace(at, 21, "learning_rate = 0.900"));
  const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=32");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.err, "optimizer.learning_rate: 1e-04 -> 0.9"));
  CHECK(contains(outcome.err, "--set KEY=VALUE"));
  CHECK(trained.records().back().find("learning_rate")->as_number() == 1e-4);
}

TEST_CASE("a config.toml of another run is reported and does not change the run") {
  const Trained trained;
  REQUIRE(trained.run("casdm train small.toml --set run.name=other --set run.seed=7 --set metrics=[]").status == 0);
  const fs::path config = trained.folder.path() / "runs/small/config.toml";
  const std::string other = read_file(trained.folder.path() / "runs/other/config.toml");
  write_file(config, other);
  const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=28 --set log.every_images=4");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_MESSAGE(contains(outcome.err, "the checkpoint's experiment is used. runs/small/config.toml differs:"),
                outcome.err);
  CHECK(contains(outcome.err, "run.seed: 0 -> 7"));
  CHECK_FALSE(contains(outcome.err, "images: run.seed"));
  CHECK(trained.records().back().find("loss")->find("metric.l1") != nullptr);
  const Outcome shown = trained.run("casdm config show runs/small/config.toml");
  CHECK(contains(shown.out, "name = \"small\""));
  CHECK(contains(shown.out, "seed = 0"));
}

TEST_CASE("a longer training that stretches the schedule reports the new learning rate") {
  const Trained trained("--set optimizer.schedule=linear");
  const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=48");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.err, "the learning rate goes from 0.0 to 5e-05"));
}

TEST_CASE("a checkpoint that is a link is resumed in the run that contains it") {
  const Trained trained;
  const fs::path runs = trained.folder.path() / "runs";
  fs::create_directories(runs / "linked/checkpoints");
  fs::copy_file(runs / "small/config.toml", runs / "linked/config.toml");
  fs::create_directory_symlink(runs / "small/checkpoints/000000000024", runs / "linked/checkpoints/000000000024");
  fs::create_directory_symlink(runs / "linked/checkpoints/000000000024", trained.folder.path() / "latest");
  const std::string log = read_file(runs / "small/metrics.jsonl");
  const Outcome outcome =
      trained.run("casdm train --resume runs/linked/checkpoints/000000000024 --set train.total_images=32");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "runs/linked"));
  CHECK(fs::exists(runs / "linked/checkpoints/000000000032"));
  CHECK(read_file(runs / "small/metrics.jsonl") == log);
  // A link outside any run points to a checkpoint, whose run is used.
  CHECK(trained.run("casdm train --resume latest --set train.total_images=40").status == 0);
  CHECK(fs::exists(runs / "small/checkpoints/000000000040"));
}

TEST_CASE("a checkpoint at which its training was complete leaves the run as it is, and the message says so") {
  const Trained trained;
  REQUIRE(trained.run(std::string(kResume) + " --set train.total_images=32").status == 0);
  const std::string checkpoint = "casdm train --resume runs/small/checkpoints/000000000024";
  const Outcome outcome = trained.run(checkpoint);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_MESSAGE(contains(outcome.err,
                         "000000000024 is of 24 images, with which its training was complete. "
                         "Nothing is done: the run stays at 32 images"),
                outcome.err);
  CHECK(contains(outcome.err, "To train on from there, and set later checkpoints aside: --set train.total_images=N"));
  CHECK_FALSE(contains(outcome.err, "continuing from"));
  CHECK(fs::exists(trained.folder.path() / "runs/small/checkpoints/000000000032"));
  // The newest one is the run.
  const Outcome newest = trained.run("casdm train --resume runs/small/checkpoints/000000000032");
  CHECK_MESSAGE(contains(newest.err, "the run is complete (32 images)"), newest.err);
  CHECK_FALSE(contains(newest.err, "continuing from"));
  // With more to train, the run does go back.
  const Outcome back = trained.run(checkpoint + " --set train.total_images=28");
  REQUIRE_MESSAGE(back.status == 0, back.err);
  CHECK(contains(back.err, "continuing from "));
  CHECK(fs::exists(trained.folder.path() / "runs/small/set-aside-1/checkpoints/000000000032"));
}

TEST_CASE("a grid that a run is still missing is drawn at the resume") {
  const Trained trained;
  const fs::path grid = trained.folder.path() / "runs/small/samples/24.png";
  const std::string drawn = read_file(grid);
  fs::remove(grid);
  const Outcome outcome = trained.run(kResume);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(read_file(grid) == drawn);
  CHECK(contains(trained.run(kResume).err, "the run is complete (24 images)"));
}

TEST_CASE("a complete run that was killed before it removed an old checkpoint removes it at a resume") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome train = shell("casdm train small.toml --set checkpoint.keep_last=1", folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  const fs::path checkpoints = folder.path() / "runs/small/checkpoints";
  const fs::path newest = checkpoints / "000000000024", old = checkpoints / "000000000020";
  fs::copy(newest, old, fs::copy_options::recursive);
  CHECK(shell("casdm train --resume runs/small --set checkpoint.keep_last=2", folder.path()).status == 0);
  CHECK_MESSAGE(fs::exists(old), "--set has changed something");
  const Outcome outcome = shell(kResume, folder.path());
  CHECK_MESSAGE(contains(outcome.err, "the run is complete (24 images)"), outcome.err);
  CHECK_FALSE(fs::exists(old));
  CHECK(fs::exists(newest));
}

TEST_CASE("a resume from a copy of a checkpoint makes it the run's own, but not over the past of another branch") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto run = [&](const std::string& command) { return shell(command, folder.path()); };
  const fs::path checkpoints = folder.path() / "runs/small/checkpoints", kept = checkpoints / "kept";
  const auto digest = [&](const fs::path& checkpoint) { return sha256_of_file(checkpoint / "weights.safetensors"); };
  const std::string train = "casdm train small.toml --set checkpoint.every_images=8 --set log.sample_count=0";
  REQUIRE(run(train + " --set checkpoint.keep_last=1 --set train.total_images=16").status == 0);
  fs::copy(checkpoints / "000000000016", kept, fs::copy_options::recursive);
  REQUIRE(run(std::string(kResume) + " --set train.total_images=24").status == 0);
  REQUIRE_FALSE(fs::exists(checkpoints / "000000000016"));
  // Killed before its first checkpoint, the run goes on from the copy.
  const std::string killed =
      " --set train.total_images=100k --set checkpoint.every_images=100k & for i in $(seq 600); do "
      "test -e runs/small/checkpoints/000000000016/state.json && break; sleep 0.1; done; kill -9 $!; "
      "wait";
  run("casdm train --resume runs/small/checkpoints/kept" + killed);
  REQUIRE(fs::exists(checkpoints / "000000000016/state.json"));
  CHECK(digest(checkpoints / "000000000016") == digest(kept));
  const Outcome next = run(std::string(kResume) + " --set train.total_images=24 --set checkpoint.every_images=8");
  CHECK_MESSAGE(contains(next.err, "continuing from runs/small/checkpoints/000000000016"), next.err);

  // Its files may be links, and may be moved away then.
  for (const char* file : {"weights.safetensors", "state.json"}) {
    fs::rename(kept / file, folder.path() / file);
    fs::create_symlink(folder.path() / file, kept / file);
  }
  fs::remove_all(checkpoints / "000000000016");
  REQUIRE(
      run("casdm train --resume runs/small/checkpoints/kept --set checkpoint.keep_last=9 --set train.total_images=24")
          .status == 0);
  for (const char* file : {"weights.safetensors", "state.json", "ema.safetensors"}) {
    CHECK(fs::is_regular_file(fs::symlink_status(checkpoints / "000000000016" / file)));
  }

  // Another way from 8 on.
  fs::remove_all(kept);
  REQUIRE(run(train + " --overwrite --set checkpoint.keep_last=9 --set train.total_images=24").status == 0);
  fs::copy(checkpoints / "000000000016", kept, fs::copy_options::recursive);
  const std::string whole = "casdm train --resume runs/small/checkpoints/";
  REQUIRE(run(whole + "kept --set train.total_images=32").status == 0);  // the same state as the run's own
  REQUIRE(run(whole + "000000000008 --set optimizer.learning_rate=0.05 --set train.total_images=24").status == 0);
  const std::string before = read_file(folder.path() / "runs/small/metrics.jsonl");
  for (const bool has_own : {true, false}) {
    if (!has_own) fs::remove_all(checkpoints / "000000000016");
    const Outcome refused = run(whole + "kept --set train.total_images=40");
    CHECK(refused.status == 2);
    CHECK_MESSAGE(contains(refused.err, "kept is of another branch than "), refused.err);
    CHECK_MESSAGE(contains(refused.err, "/small/set-aside-2/checkpoints/000000000016, unless"), refused.err);
    CHECK(fs::exists(checkpoints / "000000000016") == has_own);
    CHECK(read_file(folder.path() / "runs/small/metrics.jsonl") == before);
  }
  // Under its own number it is taken, with a word.
  fs::copy(kept, checkpoints / "000000000016", fs::copy_options::recursive);
  const Outcome restored = run(whole + "000000000016 --set train.total_images=20");
  CHECK(restored.status == 0);
  CHECK_MESSAGE(contains(restored.err, "metrics.jsonl is not the log with which "), restored.err);
  CHECK(
      run("casdm train --resume runs/small/set-aside-2/checkpoints/000000000016 --set train.total_images=40").status ==
      0);
}

TEST_CASE("SIGHUP, SIGUSR1 and SIGTERM end a training with a checkpoint, and a closed pipe does not end it") {
  for (const std::string signal : {"HUP", "USR1", "TERM"}) {
    CAPTURE(signal);
    const TemporaryFolder folder;
    write_small_config(folder.path());
    const Outcome outcome = shell(
        "casdm train small.toml --set train.total_images=100k --set checkpoint.every_images=100k & "
        "for i in $(seq 600); do test -s runs/small/metrics.jsonl && break; sleep 0.1; done; kill -" +
            signal + " $!; wait $!",
        folder.path());
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(contains(outcome.err, "the state is saved"));
    CHECK_FALSE(fs::is_empty(folder.path() / "runs/small/checkpoints"));
  }
  const TemporaryFolder folder;
  write_small_config(folder.path());
  shell("casdm train small.toml 2>&1 >/dev/null | true", folder.path());
  CHECK(fs::exists(folder.path() / "runs/small/checkpoints/000000000024/state.json"));
}

TEST_CASE("a signal between the parts of a batch abandons the step, and the run ends at the one before") {
  const Trained trained;
  // A step of many minutes.
  const Outcome outcome = trained.run(
      std::string(kResume) +
      " --set train.batch_size=65536 --set train.accumulate=65536 --set train.total_images=100k & "
      "for i in $(seq 600); do test $(grep -c resumed runs/small/metrics.jsonl) = 1 && break; sleep 0.1; done; "
      "sleep 2; kill -TERM $!; for i in $(seq 120); do kill -0 $! 2>/dev/null || break; sleep 0.5; done; "
      "kill -9 $! 2>/dev/null; wait $!");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_MESSAGE(contains(outcome.err, "stopped at 24 images; the state is saved"), outcome.err);
  CHECK(
      trained
          .run(std::string(kResume) + " --set train.batch_size=4 --set train.accumulate=1 --set train.total_images=28")
          .status == 0);
}

TEST_CASE("a signal while a grid is drawn stops the drawing, and the resume draws it") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  // A grid that would take minutes.
  const std::string slow = " --set log.sample_count=512 --set sampler.num_inference_steps=100";
  const Outcome outcome = shell("casdm train small.toml" + slow +
                                    " & for i in $(seq 600); do test -e runs/small/checkpoints/000000000024/state.json "
                                    "&& break; sleep 0.1; done; "
                                    "kill -TERM $!; wait $!",
                                folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.err, "stopped at 24 images"));
  CHECK_FALSE(fs::exists(folder.path() / "runs/small/samples/24.png"));
  const Outcome resumed = shell(std::string(kResume) + " --set log.sample_count=2", folder.path());
  CHECK_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(fs::exists(folder.path() / "runs/small/samples/24.png"));
}

TEST_CASE("an image that cannot be read ends a training with the state saved") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  fs::create_directories(folder.path() / "images");
  REQUIRE(shell("casdm sample --help > /dev/null", folder.path()).status == 0);
  const Trained source;
  for (int i = 0; i < 24; ++i) {
    fs::copy_file(source.folder.path() / "runs/small/samples/24.png",
                  folder.path() / "images" / (std::to_string(100 + i) + ".png"));
  }
  write_file(folder.path() / "images/111.png", "no image");
  const Outcome outcome = shell(
      "casdm train small.toml --set 'data={type=\"folder\",path=\"images\",image_size=16}' "
      "--set train.batch_size=1 --set checkpoint.every_images=100k --set log.sample_count=0",
      folder.path());
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "111.png"));
  CHECK(contains(outcome.err, "is saved"));
  CHECK_FALSE(fs::is_empty(folder.path() / "runs/small/checkpoints"));
}

TEST_CASE("a grid that cannot be written ends a training with the state saved") {
  const Trained trained;
  fs::remove_all(trained.folder.path() / "runs/small/samples");
  write_file(trained.folder.path() / "runs/small/samples", "in the way");
  const Outcome outcome = trained.run(std::string(kResume) +
                                      " --set train.total_images=100k --set log.sample_every_images=12 "
                                      "--set checkpoint.every_images=100k");
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "the samples at 24 images could not be drawn"));
  const Outcome without = trained.run(std::string(kResume) + " --set log.sample_count=0 --set train.total_images=32");
  CHECK_MESSAGE(without.status == 0, without.err);
}

TEST_CASE("a run's config.toml says which builds of the plugins made it") {
  const Trained trained;
  const std::string toml = read_file(trained.folder.path() / "runs/small/config.toml");
  CHECK(contains(toml, "[[plugins.used]]"));
  CHECK(contains(toml, "id = \"backbone_unet\""));
  CHECK(contains(toml, "build_id = \""));
}

TEST_CASE("a missing run or checkpoint is reported with those that exist") {
  const Trained trained;
  const std::string other = "does not exist; did you mean \"runs/small\"?";
  for (const char* command : {"train --resume runs/smal", "compare runs/smal runs/small", "report runs/smal",
                              "ema runs/smal --sigma-rel 0.1 --out e.safetensors", "sample runs/smal --num 1 --out s",
                              "export runs/smal --module theta --out e.safetensors"}) {
    const Outcome missing = trained.run(text("casdm ", command));
    CHECK_MESSAGE(missing.status == 2, command);
    CHECK_MESSAGE(contains(missing.err, other), missing.err);
  }
  const std::string checkpoint = "runs/small/checkpoints/000000000999";
  for (const char* command : {"train --resume ", "sample --num 1 --out s "}) {
    const Outcome missing = trained.run(text("casdm ", command, checkpoint));
    CHECK_MESSAGE(contains(missing.err, "000000000999\" does not exist; the checkpoints there are 0000000000"),
                  missing.err);
  }
}

TEST_CASE("options of train that contradict each other are refused") {
  const Trained trained;
  for (const char* options : {"--resume runs/small --dry-run", "--resume runs/small --overwrite",
                              "small.toml --allow-rebuilt", "small.toml --allow-other-data"}) {
    CHECK_MESSAGE(trained.run(std::string("casdm train ") + options).status == 2, options);
  }
}

TEST_CASE("what must not change during a run is refused at a resume, with what to do") {
  const Trained trained;
  const fs::path folder = trained.folder.path() / "runs/small";
  const std::string log = read_file(folder / "metrics.jsonl"), config = read_file(folder / "config.toml");
  for (const auto& [set, expected] : std::vector<std::pair<std::string, std::string>>{
           {"run.name=other", "run.name: \"small\" -> \"other\""},
           {"run.directory=elsewhere", "run.directory: \"runs\" -> \"elsewhere\""},
           {"run.seed=7", "run.seed: 0 -> 7"},
           {"'init=[{module=\"theta\",from=\"runs/small\"}]'", "init: "}}) {
    CAPTURE(set);
    const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=32 --set " + set);
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(contains(outcome.err, expected), outcome.err);
    CHECK_MESSAGE(contains(outcome.err, "this cannot change at a resume"), outcome.err);
    CHECK_MESSAGE(contains(outcome.err, "[[init]] from = \"runs/small\""), outcome.err);
    CHECK(read_file(folder / "metrics.jsonl") == log);
    CHECK(read_file(folder / "config.toml") == config);
  }
  const std::string average = " --set 'ema.also=[{name=\"p\",sigma_rel=0.1}]' --set train.total_images=28";
  CHECK(trained.run("casdm train small.toml --set run.name=averaged" + average).status == 0);
  const Outcome wider = trained.run("casdm train --resume runs/averaged --set 'ema.also[0].sigma_rel=0.2'");
  CHECK(wider.status == 2);
  CHECK_MESSAGE(contains(wider.err, "the average \"p\" has sigma_rel = 0.2, and had 0.1"), wider.err);
  // Equal values are not a change; a run that was moved or copied is resumed where it is now.
  CHECK(trained.run(std::string(kResume) + " --set run.name=small --set train.total_images=28").status == 0);
  fs::copy(folder, trained.folder.path() / "copy", fs::copy_options::recursive);
  CHECK(trained.run("casdm train --resume copy --set train.total_images=32").status == 0);
  CHECK(fs::exists(trained.folder.path() / "copy/checkpoints/000000000032/state.json"));
  CHECK_FALSE(fs::exists(folder / "checkpoints/000000000032"));
}

TEST_CASE("config check and --dry-run find what would train nothing, and warn of what trains less than it seems") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const std::string command : {"casdm config check small.toml", "casdm train small.toml --dry-run"}) {
    CAPTURE(command);
    const Outcome refused = shell(command + " --set ema.decay=1 --set ema.warmup=false", folder.path());
    CHECK(refused.status == 2);
    CHECK_MESSAGE(contains(refused.err, "ema.decay: the average \"ema\" would keep"), refused.err);
    const Outcome warned = shell(command + " --set ema.warmup=false", folder.path());
    CHECK(warned.status == 0);
    CHECK_MESSAGE(contains(warned.err, "warning: ema.decay"), warned.err);
  }
  CHECK(shell("casdm train small.toml --set optimizer.learning_rate=1e-46", folder.path()).status == 2);
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}
