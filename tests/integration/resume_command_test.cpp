#include <doctest/doctest.h>

#include <sstream>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

namespace {

constexpr const char* kResume = "casdm train --resume runs/small";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::vector<Value> records(const fs::path& folder) {
  std::vector<Value> result;
  std::istringstream lines(read_file(folder / "runs/small/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) result.push_back(from_json(line));
  return result;
}

/// The marks that resumes have left in the log.
std::vector<Value> marks(const fs::path& folder) {
  std::vector<Value> result;
  for (const Value& record : records(folder)) {
    if (record.find("resumed") != nullptr) result.push_back(record);
  }
  return result;
}

/// A folder in which the small experiment has been trained.
struct Trained {
  explicit Trained(const std::string& set = "") {
    write_small_config(folder.path());
    const Outcome outcome = run("casdm train small.toml " + set);
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  }
  Outcome run(const std::string& command) const { return shell(command, folder.path()); }
  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("what --set changes at a resume holds at the next one, in config.toml and in the log") {
  const Trained trained;
  const Outcome first =
      trained.run(std::string(kResume) + " --set train.total_images=32 --set optimizer.learning_rate=5e-4");
  REQUIRE_MESSAGE(first.status == 0, first.err);
  CHECK(contains(first.err, "optimizer.learning_rate: 1e-04 -> 5e-04"));
  CHECK(contains(first.err, "the learning rate goes from 1e-04 to 5e-04"));
  const Outcome second = trained.run(std::string(kResume) + " --set train.total_images=40");
  REQUIRE_MESSAGE(second.status == 0, second.err);
  CHECK_FALSE(contains(second.err, "optimizer.learning_rate"));

  const std::vector<Value> found = marks(trained.folder.path());
  REQUIRE(found.size() == 2);
  const Value* change = found[0].find("changed")->find("optimizer.learning_rate");
  REQUIRE(change != nullptr);
  CHECK(to_json(*change) == R"({"from":0.0001,"to":0.0005})");
  CHECK(found[0].find("images")->as_integer() == 24);
  CHECK(found[1].find("changed")->as_table().size() == 1);
  CHECK(records(trained.folder.path()).back().find("learning_rate")->as_number() == 5e-4);

  const Outcome shown = trained.run("casdm config show runs/small/config.toml");
  CHECK(contains(shown.out, "learning_rate = 5e-04"));
  CHECK(contains(shown.out, "total_images = 40"));
}

TEST_CASE("what --set changes holds although the resumed run is killed before its first checkpoint") {
  const Trained trained;
  trained.run(std::string(kResume) +
              " --set train.total_images=100k --set checkpoint.every_images=100k --set optimizer.learning_rate=5e-4 & "
              "for i in $(seq 600); do test $(wc -l < runs/small/metrics.jsonl) -gt 5 && break; sleep 0.1; done; "
              "kill -9 $!; wait");
  const Outcome next = trained.run(std::string(kResume) + " --set train.total_images=32");
  REQUIRE_MESSAGE(next.status == 0, next.err);
  CHECK(contains(next.err, "optimizer.learning_rate: 1e-04 -> 5e-04"));
  CHECK(records(trained.folder.path()).back().find("learning_rate")->as_number() == 5e-4);
}

TEST_CASE("a resumed run that is killed before its first checkpoint leaves nothing behind, whatever --set changed") {
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
  CHECK(records(trained.folder.path()).back().find("learning_rate")->as_number() == 1e-4);
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
  CHECK(records(trained.folder.path()).back().find("loss")->find("metric.l1") != nullptr);
  const Outcome shown = trained.run("casdm config show runs/small/config.toml");
  CHECK(contains(shown.out, "name = \"small\""));
  CHECK(contains(shown.out, "seed = 0"));
}

TEST_CASE("a longer training that moves the schedule says what the learning rate becomes") {
  const Trained trained("--set optimizer.schedule=linear");
  const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=48");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.err, "the learning rate goes from 0.0 to 5e-05"));
}

TEST_CASE("a checkpoint that is a link is resumed in the run that it stands in") {
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
  // A link outside of any run leads to a checkpoint, whose run is meant.
  CHECK(trained.run("casdm train --resume latest --set train.total_images=40").status == 0);
  CHECK(fs::exists(runs / "small/checkpoints/000000000040"));
}

TEST_CASE("a grid that a run still owes is drawn at the resume") {
  const Trained trained;
  const fs::path grid = trained.folder.path() / "runs/small/samples/24.png";
  const std::string drawn = read_file(grid);
  fs::remove(grid);
  const Outcome outcome = trained.run(kResume);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(read_file(grid) == drawn);
  CHECK(contains(trained.run(kResume).err, "the run is complete (24 images)"));
}

TEST_CASE("a file of the user\'s with the name of a grid is left alone, with a word, and the training goes on") {
  const Trained trained;
  const fs::path mine = trained.folder.path() / "runs/small/samples/32.png";
  write_file(mine, "mine");
  const Outcome outcome = trained.run(std::string(kResume) + " --set train.total_images=32");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(read_file(mine) == "mine");
  CHECK_MESSAGE(contains(outcome.err, "samples/32.png was not written by this program and is left as it is"),
                outcome.err);
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

TEST_CASE("a signal between the parts of a batch leaves the step, and the run ends at the one before") {
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
  // A copy that the user keeps has a name that the program never gives.
  const fs::path copy = folder / "checkpoints/000000000024.best";
  fs::copy(folder / "checkpoints/000000000024", copy);
  CHECK(contains(trained.run("casdm train small.toml --overwrite").err, "000000000024.best\" was not made"));
  CHECK(fs::exists(copy / "state.json"));
  fs::remove_all(copy);
  // Nor is anything in a folder of the run that only looks like what a training writes.
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
  // Nor is a run removed that the new one is to start from.
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
  CHECK(records(trained.folder.path()).size() == 1);
  fs::create_directories(trained.folder.path() / "runs/other");
  write_file(trained.folder.path() / "runs/other/notes.txt", "mine");
  CHECK(trained.run("casdm train small.toml --overwrite --set run.name=other").status == 2);
  CHECK(read_file(trained.folder.path() / "runs/other/notes.txt") == "mine");
}

TEST_CASE("a run or a checkpoint that is not there is said to be missing, with those that are") {
  const Trained trained;
  const std::string other = "does not exist; did you mean \"runs/small\"?";
  for (const char* command :
       {"train --resume runs/smal", "compare runs/smal runs/small", "report runs/smal",
        "ema runs/smal --sigma-rel 0.1 --out e.safetensors", "sample runs/smal --num 1 --out s"}) {
    const Outcome missing = trained.run(text("casdm ", command));
    CHECK_MESSAGE(contains(missing.err, other), missing.err);
  }
  const std::string checkpoint = "runs/small/checkpoints/000000000999";
  for (const char* command : {"train --resume ", "sample --num 1 --out s "}) {
    const Outcome missing = trained.run(text("casdm ", command, checkpoint));
    CHECK_MESSAGE(contains(missing.err, "000000000999\" does not exist; the checkpoints there are 0000000000"),
                  missing.err);
  }
}

TEST_CASE("options of train that mean nothing together are refused") {
  const Trained trained;
  for (const char* options : {"--resume runs/small --dry-run", "--resume runs/small --overwrite",
                              "small.toml --allow-rebuilt", "small.toml --allow-other-data"}) {
    CHECK_MESSAGE(trained.run(std::string("casdm train ") + options).status == 2, options);
  }
}

TEST_CASE("what a run keeps for its life is refused at a resume, with what to do") {
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
  // The same values are no change; a run that was moved or copied is resumed where it lies.
  CHECK(trained.run(std::string(kResume) + " --set run.name=small --set train.total_images=28").status == 0);
  fs::copy(folder, trained.folder.path() / "copy", fs::copy_options::recursive);
  CHECK(trained.run("casdm train --resume copy --set train.total_images=32").status == 0);
  CHECK(fs::exists(trained.folder.path() / "copy/checkpoints/000000000032/state.json"));
  CHECK_FALSE(fs::exists(folder / "checkpoints/000000000032"));
}

TEST_CASE("files of the user's in a run are left alone whatever their names begin with") {
  const Trained trained;
  const fs::path run = trained.folder.path() / "runs/small";
  fs::create_directories(run / "evaluation");
  const std::vector<fs::path> mine = {run / "evaluation/2026-11-26-notes.md", run / "evaluation/90000-mine.json",
                                      run / "samples/20261126.png", run / "samples/0100.png"};
  for (const fs::path& file : mine) write_file(file, "mine");
  write_file(run / "evaluation/000000000099-ema-0123456789abcdef.json", "{}");
  fs::remove_all(run / "checkpoints/000000000024");
  REQUIRE(trained.run(std::string(kResume)).status == 0);
  for (const fs::path& file : mine) CHECK_MESSAGE(fs::exists(file), file.string());
  CHECK_FALSE(fs::exists(run / "evaluation/000000000099-ema-0123456789abcdef.json"));

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
    "a run of which a folder is a link is not trained on: what is there may be another's, and cannot be set aside") {
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

TEST_CASE("a log that is a pipe is not waited for") {
  const Trained trained;
  const Outcome outcome = trained.run(
      "rm runs/small/metrics.jsonl && mkfifo runs/small/metrics.jsonl && timeout 20 casdm report runs/small");
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(contains(outcome.err, "metrics.jsonl is not a regular file"), outcome.err);
}

TEST_CASE("a key that gives the head other parameters is named where a checkpoint does not fit any more") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string network =
      "theta={type=\"unet\",channels=8,channel_mult=[1,2],num_res_blocks=1,attention_resolutions=[8],groups=4}";
  struct Case {
    std::string head, more, set, key;
  };
  for (const Case& c :
       {Case{"type=\"edm\",learned_weight=false,",
             "--set 'noise={type=\"edm\"}' --set 'sampler={type=\"heun\",num_inference_steps=2}' ",
             "head.learned_weight=true", "head.learned_weight: false -> true"},
        Case{"type=\"edm\",learned_weight=true,",
             "--set 'noise={type=\"edm\"}' --set 'sampler={type=\"heun\",num_inference_steps=2}' ",
             "head.learned_weight=false", "head.learned_weight: true -> false"},
        Case{"type=\"single\",", "", "head.variance=learned_range", "head.variance: \"fixed\" -> \"learned_range\""},
        Case{"type=\"single\",", "", "head.theta.channels=16", "head.theta.channels: 8 -> 16"}}) {
    CAPTURE(c.set);
    fs::remove_all(folder.path() / "runs");
    const Outcome begun = shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0 " + c.more +
                                    "--set 'head={" + c.head + network + "}'",
                                folder.path());
    REQUIRE_MESSAGE(begun.status == 0, begun.err);
    for (const std::string& command : {std::string("casdm train --resume runs/small --set train.total_images=16"),
                                       std::string("casdm sample runs/small --num 1 --out s")}) {
      // Sampling needs no module that only weighs losses.
      if (command.starts_with("casdm sample") && c.set == "head.learned_weight=false") continue;
      const Outcome outcome = shell(command + " --set " + c.set, folder.path());
      CHECK_MESSAGE(outcome.status != 0, command);
      CHECK_MESSAGE(contains(outcome.err, c.key), outcome.err);
    }
  }
}

TEST_CASE("networks of other options than were trained are refused where no shape shows it") {
  const Trained trained;
  const std::string log = read_file(trained.folder.path() / "runs/small/metrics.jsonl");
  for (const std::string& command : {std::string(kResume) + " --set train.total_images=32",
                                     std::string("casdm sample runs/small --num 1 --out s")}) {
    const Outcome outcome = trained.run(command + " --set head.theta.num_heads=2");
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(contains(outcome.err, "num_heads = 1, head.theta has 2"), outcome.err);
  }
  CHECK(read_file(trained.folder.path() / "runs/small/metrics.jsonl") == log);
  CHECK_FALSE(fs::exists(trained.folder.path() / "s"));
  const Outcome other = trained.run("casdm sample runs/small --num 1 --out t --set noise.offset=0.01");
  CHECK(other.status == 0);
  CHECK_MESSAGE(contains(other.err, "trained for other settings:\n  noise.offset: 0.008 -> 0.01"), other.err);
}

TEST_CASE(
    "no network of the program's own takes weights that were trained with other options, seen by their shapes or not") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto run = [&](const std::string& command) { return shell("casdm " + command, folder.path()); };
  struct Network {
    const char *options, *option, *other;
  };
  for (const auto& [options, option, other] :
       {Network{"type=\"unet\", channels=8, channel_mult=[1,2], groups=4", "num_heads", "2"},
        Network{"type=\"dit\", patch=4, width=16, depth=2, num_heads=2", "num_heads", "4"},
        Network{"type=\"edm2_unet\", channels=8, channel_mult=[1,2], num_head_channels=8, attention_resolutions=[]",
                "res_balance", "0.5"}}) {
    CAPTURE(options);
    const std::string head = text(" --set 'head={type=\"single\", theta={", options, "}}' --set metrics=[]");
    const std::string changed = text(" --set head.theta.", option, "=", other);
    const Outcome trained = run("train small.toml --overwrite --set train.total_images=4" + head);
    REQUIRE_MESSAGE(trained.status == 0, trained.err);
    REQUIRE(run("export runs/small --module theta --overwrite --out t.safetensors").status == 0);
    const std::string init = " --set 'init=[{module=\"theta\",from=\"t.safetensors\"}]'";
    CHECK(run("train small.toml --dry-run" + head + init).status == 0);
    for (const std::string& command :
         {"train small.toml --dry-run" + head + init + changed, "sample runs/small --num 1 --out s" + changed,
          "train --resume runs/small --set train.total_images=8" + changed}) {
      const Outcome outcome = run(command);
      CHECK_MESSAGE(outcome.status == 2, command);
      CHECK_MESSAGE(contains(outcome.err, text(option, " = ")), outcome.err);
    }
  }
}

TEST_CASE("weights of a run whose outputs meant something else are taken with a word") {
  const Trained trained;
  const std::string from = " --set 'init=[{module=\"theta\",from=\"runs/small\",freeze=true}]' --set ";
  const std::string same =
      trained.run("casdm train small.toml --set run.name=same" + from + "train.total_images=4").err;
  CHECK_MESSAGE(!contains(same, "was trained for other settings"), same);
  const std::string path =
      trained.run("casdm train small.toml --set run.name=path" + from + "noise.type=linear --set train.total_images=4")
          .err;
  CHECK_MESSAGE(contains(path, "[[init]]: theta was trained for other settings in "), path);
  CHECK_MESSAGE(contains(path, "noise.type: \"noise_beta/cosine\" -> \"noise_beta/linear\""), path);
  REQUIRE(trained.run("casdm export runs/small --module theta --out theta.safetensors").status == 0);
  const std::string file =
      trained
          .run(
              "casdm train small.toml --set run.name=file --set "
              "'init=[{module=\"theta\",from=\"theta.safetensors\"}]' --set noise.type=linear --set "
              "train.total_images=4")
          .err;
  CHECK_MESSAGE(contains(file, "noise.type: \"noise_beta/cosine\" -> \"noise_beta/linear\""), file);
  std::string single = read_file(trained.folder.path() / "small.toml");
  single = single.substr(0, single.find("[head.phi]")) + single.substr(single.find("[[metrics]]"));
  single.replace(single.find("\"cascade\""), 9, "\"single\"");
  write_file(trained.folder.path() / "single.toml", single);
  const std::string head =
      trained.run("casdm train single.toml --set run.name=head" + from + "train.total_images=4").err;
  CHECK_MESSAGE(contains(head, "[head] was {\"type\":\"head_diffusion/cascade\""), head);
}

TEST_CASE("weights of another run take its meaning with them, whoever reads them") {
  const Trained trained;
  const std::string averages = " --set 'ema.also=[{name=\"p05\",sigma_rel=0.05},{name=\"p10\",sigma_rel=0.1}]' ";
  REQUIRE(trained
              .run("casdm train small.toml --set run.name=path --set noise.type=linear --set "
                   "ema.snapshot_every_images=4 --set train.total_images=8" +
                   averages)
              .status == 0);
  REQUIRE(trained.run("casdm ema runs/path --sigma-rel 0.07 --out average.safetensors").status == 0);
  const std::string said = "noise.type: \"noise_beta/linear\" -> \"noise_beta/cosine\"";
  for (const std::string weights : {"average.safetensors", "runs/path/checkpoints/000000000008/ema.safetensors"}) {
    CAPTURE(weights);
    const std::string of = " --weights " + weights;
    const Outcome sample = trained.run("casdm sample runs/small --num 1 --overwrite --out s" + of);
    CHECK_MESSAGE(sample.status == 0, sample.err);
    const Outcome exported =
        trained.run("casdm export runs/small --module theta --overwrite --out theta.safetensors" + of);
    CHECK_MESSAGE(exported.status == 0, exported.err);
    for (const std::string& err : {sample.err, exported.err})
      CHECK_MESSAGE(contains(err, weights + " was trained for other settings:\n  " + said), err);
    // What was exported says so again, where it is taken for the path of the run it was exported from.
    const std::string init =
        "casdm train small.toml --overwrite --set run.name=init --set train.total_images=4 --set "
        "'init=[{module=\"theta\",from=\"theta.safetensors\"}]'";
    const Outcome begun = trained.run(init);
    CHECK_MESSAGE(begun.status == 0, begun.err);
    CHECK_MESSAGE(contains(begun.err, said), begun.err);
  }
  const Outcome own = trained.run("casdm export runs/path --module theta --overwrite --out theta.safetensors");
  CHECK_MESSAGE(!contains(own.err, "other settings"), own.err);
}

TEST_CASE("config check and --dry-run find what would train nothing, and warn of what trains less than it says") {
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

TEST_CASE("a run killed before its first checkpoint begins again with the weights of [[init]] that it took") {
  const Trained trained;
  const fs::path runs = trained.folder.path() / "runs";
  trained.run(
      "casdm train small.toml --set run.name=next --set 'init=[{module=\"theta\",from=\"runs/small\"}]' "
      "--set train.total_images=100k --set checkpoint.every_images=100k & "
      "for i in $(seq 600); do test -s runs/next/metrics.jsonl && break; sleep 0.1; done; kill -9 $!; wait");
  const auto first_loss = [&] {
    std::istringstream log(read_file(runs / "next/metrics.jsonl"));
    std::string line;
    while (std::getline(log, line) && !contains(line, "\"loss\"")) {
    }
    return to_json(*from_json(line).find("loss"));
  };
  const std::string before = first_loss();
  REQUIRE(fs::exists(runs / "next/init.json"));
  fs::copy(runs / "next", runs / "late", fs::copy_options::recursive);
  REQUIRE(trained.run(std::string(kResume) + " --set train.total_images=28").status == 0);

  const Outcome outcome = trained.run("casdm train --resume runs/next --set train.total_images=8");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(first_loss() == before);

  fs::remove_all(runs / "small/checkpoints/000000000024");
  const std::string log = read_file(runs / "late/metrics.jsonl");
  const Outcome refused = trained.run("casdm train --resume runs/late");
  CHECK(refused.status == 1);
  CHECK_MESSAGE(contains(refused.err, "/runs/small/checkpoints/000000000024/ema.safetensors with the SHA-256"),
                refused.err);
  CHECK(read_file(runs / "late/metrics.jsonl") == log);
}
