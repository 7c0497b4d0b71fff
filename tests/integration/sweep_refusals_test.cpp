#include <doctest/doctest.h>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/sweep_study.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

TEST_CASE("errors in a sweep are reported in one message with their location, before anything runs") {
  const Study study;
  const auto said = [&](const std::string& sweep, const std::string& options = "") {
    study.write(sweep);
    const Outcome outcome = study.run("--no-pilot " + options);
    CHECK(outcome.status == 2);
    CHECK_FALSE(fs::exists(study.path("runs")));
    return outcome.err;
  };
  const std::string two = kTwoArms;
  CHECK(contains(said(two + "[[arms]]\nname = \"l1\"\nset = [\"run.device=cpu\", \"train.batch_size=2\"]\n"),
                 "sweep.toml:13:8: arms.2.name: two arms have the name \"l1\""));
  CHECK(contains(said(two + "[[arms]]\nname = \"same\"\nset = [\"train.batch_size=4\"]\n"),
                 "sweep.toml:12:1: arms.2: 'same' and 'l1' are the same experiment"));
  const std::string unknown = said(two + "[[arms]]\nname = \"odd\"\nset = [\n  \"train.batchsize=2\",\n]\n");
  CHECK(contains(unknown,
                 "the arm 'odd' (sweep.toml:12:1) cannot be composed: sweep.toml:15:3: train.batchsize: unknown"));
  CHECK(contains(unknown, "did you mean 'batch_size'?"));
  CHECK(contains(said(two + "[[arms]]\nname = \"odd\"\ninclude = \"piece.toml\"\n"),
                 "sweep.toml:14:11: arms.2.include: there is no "));
  write_file(study.path("piece.toml"), "[train]\nbatch_size = 0\n");
  CHECK(contains(said(two + "[[arms]]\nname = \"odd\"\ninclude = \"piece.toml\"\n"),
                 "piece.toml:2:14: train.batch_size"));
  CHECK(contains(said("basline = \"plain\"\n" + two), "unknown key of a sweep; did you mean 'baseline'?"));
  CHECK(contains(said("baseline = \"plan\"\n" + two), "no arm has the name \"plan\"; did you mean \"plain\"?"));
  CHECK(contains(said(two + "[[arms]]\nname = \"../up\"\n"), "arms.2.name"));
  CHECK(contains(said("name = \"x\"\nbase = \"small.toml\"\nseeds = [1, 1]\n[[arms]]\nname = \"a\"\n"),
                 "the seed 1 is given twice"));
  const auto grid = [](const std::string& values) {
    return "[[grid]]\nkey = \"train.batch_size\"\nvalues = [" + values + "]\n";
  };
  CHECK(contains(
      said(two + "set = [\"train.batch_size=4\"]\n" + grid("2, 3")),
      "sweep.toml:12:8: arms.1.set.0: the arm 'l1' and [[grid]] both set train.batch_size; give it in one of"));
  CHECK(contains(said(two + grid("2, 3, 2")), "sweep.toml:14:10: grid.0.values: the value \"2\" of train.batch_size"));
  CHECK(
      contains(said(two + grid("2") + grid("3")), "sweep.toml:16:7: grid.1.key: [[grid]] has train.batch_size twice"));
  CHECK(contains(said("[train]\nbatch_size = 4\n"), "is not a sweep: it has no [[arms]]"));
  study.write(two);
  for (const char* command : {"casdm train sweep.toml", "casdm config check sweep.toml"}) {
    const Outcome outcome = shell(command, study.folder.path());
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(contains(outcome.err, "sweep.toml is a sweep, as it has [[arms]]"), outcome.err);
    CHECK_MESSAGE(contains(outcome.err, "casdm sweep sweep.toml"), outcome.err);
  }
  CHECK(contains(said(two, "--print --slurm"), "exclude each other"));
  CHECK(contains(study.run("--cell l1-s7").err, "the sweep has no such run"));
}

TEST_CASE("a key that the sweep sets in every run is refused, with what to write instead") {
  const Study study;
  const auto said = [&](const std::string& sweep, const std::string& options = "") {
    study.write(sweep);
    const Outcome outcome = study.run("--dry-run --no-pilot " + options);
    CHECK(outcome.status == 2);
    return outcome.err;
  };
  const std::string two = kTwoArms;
  CHECK(contains(said("set = [\"train.batch_size=4\", \"run.seed=5\"]\n" + two),
                 "sweep.toml:1:30: set.1: it sets run.seed, which a sweep sets in every run; give `seeds` in the sweep "
                 "file instead"));
  CHECK(contains(said(two + "set = \"run.name=mine\"\n"),
                 "sweep.toml:12:7: arms.1.set: it sets run.name, which a sweep sets in every run; give the arm's "
                 "`name` instead"));
  CHECK(contains(said(two + "set = [\"run.directory=else\"]\n"), "give `directory` in the sweep file instead"));
  CHECK(
      contains(said(two + "set = [\"run={threads=1, seed=5}\"]\n"), "sweep.toml:12:8: arms.1.set.0: it sets run.seed"));
  CHECK(
      contains(said(two + "[[grid]]\nkey = \"run.seed\"\nvalues = [0, 1]\n"),
               "sweep.toml:13:7: grid.0.key: it sets run.seed, which a sweep sets in every run; give `seeds` in the"));
  CHECK(contains(said(two + "[[grid]]\nkey = \"run\"\nvalues = [\"{name='a'}\"]\n"), "grid.0.key: it sets run.name"));
  CHECK(contains(said(two, "--set run.seed=3"), "--set run.seed=3: it sets run.seed, which a sweep sets in every run"));
  study.write(two + "set = [\"run={threads=1}\", \"run.precision=bf16\"]\n");
  CHECK(study.run("--dry-run --no-pilot").status == 0);
}

TEST_CASE("a run of another experiment with a cell's name is left alone and named") {
  const Study study;
  REQUIRE(shell("casdm train small.toml --set metrics=[] --set run.directory=runs/two --set run.name=plain-s1 "
                "--set run.seed=1 --set train.batch_size=2",
                study.folder.path())
              .status == 0);
  const std::string before = study.content("runs/two/plain-s1/metrics.jsonl");
  fs::create_directories(study.path("runs/two/cells"));
  const Outcome mixed = study.run("--no-pilot");
  CHECK(mixed.status == 2);
  CHECK(contains(mixed.err, "runs/two exists and is not the folder of a sweep"));
  write_file(study.path("runs/two/sweep.json"), R"({"format": 1, "arms": [], "cells": []})");
  const Outcome outcome = study.run("--no-pilot");
  CHECK(outcome.status == 2);
  CHECK(contains(outcome.err, "runs/two/plain-s1 is a run of another experiment: train.batch_size: 2 -> 4"));
  CHECK(study.content("runs/two/plain-s1/metrics.jsonl") == before);
  CHECK_FALSE(fs::exists(study.path("runs/two/plain-s0")));
}

TEST_CASE("somebody else's files in the folder of a sweep are refused before anything is trained") {
  for (const char* name : {"sweep.json", "report.html", "results.csv"}) {
    CAPTURE(name);
    const Study study;
    fs::create_directories(study.path("runs/two"));
    if (std::string(name) != "sweep.json") {
      write_file(study.path("runs/two/sweep.json"), R"({"format": 1, "arms": [], "cells": []})");
    }
    write_file(study.path("runs/two") / name, "{\"mine\": 1}");
    const Outcome outcome = study.run("--no-pilot");
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(contains(outcome.err, "runs/two"), outcome.err);
    CHECK(study.content(text("runs/two/", name)) == "{\"mine\": 1}");
    CHECK_FALSE(fs::exists(study.path("runs/two/plain-s0")));
  }
}

TEST_CASE("a run that was removed is trained and judged again") {
  const Study study("evaluate = [\"--num\", \"8\"]\nset = [\"evaluate.judges=[{type='pixels'}]\"]\n" +
                    std::string(kTwoArms));
  const Outcome first = study.run("--no-pilot");
  REQUIRE_MESSAGE(first.status == 0, first.err);
  fs::remove_all(study.path("runs/two/l1-s1"));
  fs::remove_all(study.path("runs/two/plain-s0/evaluation"));
  const Outcome again = study.run("--no-pilot");
  CHECK_MESSAGE(again.status == 0, again.err);
  CHECK(again.out == first.out);
}

TEST_CASE("a second sweep in the same folder is refused and does not change what the first one uses") {
  const Study study;
  const Outcome outcome = study.run(
      "--no-pilot --set train.total_images=100k & sweep=$!; "
      "until grep -qs images runs/two/plain-s0/metrics.jsonl; do sleep 0.05; done; "
      "sed -i '$aset = [\"train.batch_size=2\"]' sweep.toml; sed 's/./&/' runs/two/cells/l1-s0.toml > before.toml; "
      "casdm sweep sweep.toml --no-pilot --set train.total_images=100k; echo second $?; "
      "casdm sweep sweep.toml --cell l1-s0 --set train.total_images=100k; echo cell $?; "
      "cmp before.toml runs/two/cells/l1-s0.toml && echo as it was; kill -TERM $sweep; wait $sweep");
  CHECK_MESSAGE(contains(outcome.out, "second 1\n"), outcome.err);
  CHECK_MESSAGE(contains(outcome.out, "cell 1\n"), outcome.err);
  CHECK(contains(outcome.err, "another `casdm sweep` is working in runs/two"));
  CHECK(contains(outcome.out, "as it was"));
}

TEST_CASE("a sweep file chooses how its runs are judged, but no files to write, to replace or to load code from") {
  const Study study;
  const auto said = [&](const std::string& words, const std::string& options = "--dry-run --no-pilot") {
    study.write(text("evaluate = [", words, "]\n", kTwoArms));
    const Outcome outcome = study.run(options);
    CHECK(outcome.status == 2);
    CHECK_FALSE(fs::exists(study.path("runs")));
    return outcome.err;
  };
  for (const char* option : {"--plugin", "--write-reference", "--out", "--state"}) {
    CHECK(contains(said(text('"', option, "\", \"mine\"")),
                   text("sweep.toml:1:13: evaluate.0: \"", option, "\" is not allowed in a sweep file")));
    CHECK(contains(said(text('"', option, "=mine\"")), "is not allowed in a sweep file"));
  }
  CHECK(contains(said("\"--overwrite\""), "is not allowed in a sweep file"));
  CHECK(contains(said("\"--plugin\", \"mine\""), "casdm sweep --plugin FILE"));
  CHECK(contains(said("\"--num\", \"8\", \"--stpes\", \"4\""), "did you mean '--steps'?"));
  CHECK(contains(said("\"runs/other\""), "expected an option of `casdm evaluate`, got \"runs/other\""));
  CHECK(contains(said("\"--num\""), "\"--num\" needs a value after it"));
  CHECK(contains(said("\"--config\", \"none.toml\""), "--config: \"none.toml\" does not exist"));
  // Values, too, are checked before anything is trained, for each arm.
  CHECK(
      contains(said("\"--num\", \"x\""), "sweep.toml:1:13: evaluate.0: --num: expected a whole number of at least 1"));
  CHECK(contains(said("\"--batch=0\""), "--batch: expected a whole number of at least 1, got \"0\""));
  CHECK(contains(said("\"--reference\", \"none.npz\""), "--reference: \"none.npz\" does not exist"));
  CHECK(contains(said("\"--held-out\", \"none\""), "--held-out: \"none\" does not exist"));
  const std::string cannot = "sweep.toml:1:12: evaluate: an evaluation of the arm 'plain' is not possible: ";
  for (const auto& [words, why] : std::vector<std::pair<std::string, std::string>>{
           {R"("--steps", "4,0")", "sampler.num_inference_steps"},
           {R"("--sampler", "nosuch")", "sampler.type"},
           {R"("--guidance", "2")", "guidance.scale"},
           {R"("--label", "3")", "--label 3: the run has no labels"},
           {R"("--weights", "ema,nosuch")", "--weights \"nosuch\": expected ema, raw"},
           {R"("--set", "evaluate.numm=3")", "evaluate.numm"}}) {
    const std::string message = said(words);
    CHECK_MESSAGE(contains(message, cannot), message);
    CHECK_MESSAGE(contains(message, why), message);
  }
  // Relative to the folder of the sweep file.
  write_file(study.path("judge.toml"), "[evaluate]\nnum = 0\n");
  CHECK(contains(said("\"--config\", \"judge.toml\""), "judge.toml:2:7: evaluate.num"));
  write_file(study.path("judge.toml"), "[evaluate]\nnum = 8\n[[evaluate.judges]]\ntype = \"pixels\"\n");
  study.write("evaluate = [\"--config\", \"judge.toml\"]\n" + std::string(kTwoArms));
  fs::create_directory(study.path("elsewhere"));
  const Outcome elsewhere =
      shell("cd elsewhere && casdm sweep ../sweep.toml --no-pilot --set log.sample_count=0", study.folder.path());
  CHECK_MESSAGE(elsewhere.status == 0, elsewhere.err);
  CHECK(contains(elsewhere.out, "pixels.frechet"));
  fs::remove_all(study.path("elsewhere"));
  study.write("evaluate = [\"--num=8\", \"--floor\", \"--set\", \"evaluate.seed=1\"]\n" + std::string(kTwoArms));
  CHECK(study.run("--dry-run --no-pilot").status == 0);
}
