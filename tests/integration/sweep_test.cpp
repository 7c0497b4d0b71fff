#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/sweep_study.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

namespace {

/// The weights of every run, for comparing two sweeps bit for bit.
std::string weights(const Study& study) {
  std::string all;
  for (const char* cell : {"plain-s0", "plain-s1", "l1-s0", "l1-s1"}) {
    all += sha256_of_file(study.path(text("runs/two/", cell, "/checkpoints/000000000024/weights.safetensors")));
  }
  return all;
}

/// The eps term of the last line of a run's log.
double last_loss(const Study& study, const std::string& cell) {
  std::istringstream lines(study.content(text("runs/two/", cell, "/metrics.jsonl")));
  double loss = 0;
  for (std::string line; std::getline(lines, line);) {
    const Value record = from_json(line);
    if (const Value* terms = record.find("loss")) loss = terms->as_table().front().second.find("mean")->as_number();
  }
  return loss;
}

}  // namespace

TEST_CASE("a sweep trains every arm with every seed and compares them; the same command keeps what is complete") {
  const Study study;
  const Outcome outcome = study.run("--no-pilot");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.err, "sweep two: 2 arms, 4 runs in runs/two"));
  CHECK(contains(outcome.err, "plain (baseline)"));
  CHECK(contains(outcome.out, "loss.x0 (lower is better)"));
  CHECK(contains(outcome.out, "l1 differs from plain in metrics: [] -> [l1]\n"));

  // A cell is an ordinary run, and the arms of a seed saw the same noise, so theta is the same network in both.
  CHECK(study.content("runs/two/plain-s1/config.toml").find("seed = 1") != std::string::npos);
  const Value results = from_json(study.content("runs/two/results.json"));
  for (const Value& measure : results.find("measures")->as_array()) {
    if (measure.find("name")->as_string() != "loss.eps") continue;
    const Value& difference = *measure.find("arms")->as_array()[1].find("difference");
    CHECK(difference.find("seeds")->as_integer() == 2);
    CHECK(difference.find("mean")->as_number() == 0);
  }
  const std::string csv = study.content("runs/two/results.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 5);
  CHECK(contains(study.content("runs/two/results.md"), "| loss.x0 (lower is better) | plain | 2 |"));
  CHECK(contains(study.content("runs/two/results.tex"), "\\begin{tabular}"));

  const auto written = fs::last_write_time(study.path("runs/two/l1-s1/metrics.jsonl"));
  const Outcome again = study.run("");
  REQUIRE_MESSAGE(again.status == 0, again.err);
  CHECK(contains(again.err, "every run is complete"));
  CHECK(again.out == outcome.out);
  CHECK(fs::last_write_time(study.path("runs/two/l1-s1/metrics.jsonl")) == written);

  const Outcome json = study.run("--json");
  CHECK(json.out == study.content("runs/two/results.json"));
  CHECK(study.run("--json --dry-run").status == 2);

  const Outcome compared = shell("casdm compare runs/two/*-s? --baseline plain", study.folder.path());
  CHECK_MESSAGE(compared.status == 0, compared.err);
  CHECK(contains(compared.out, "loss.x0 (lower is better)"));
  const Outcome as_json = shell("casdm compare runs/two/*-s? --baseline plain --json", study.folder.path());
  REQUIRE_MESSAGE(as_json.status == 0, as_json.err);
  CHECK(from_json(as_json.out).find("arms")->as_array().size() == 2);
}

TEST_CASE("a sweep recognises its runs in a tree that was moved or copied with its data, and resumes them there") {
  const TemporaryFolder folder;
  const fs::path old = folder.path() / "old", now = folder.path() / "now";
  fs::create_directories(old / "configs");
  fs::create_directories(old / "data");
  write_small_config(old / "configs");
  fs::copy(source_dir() / "examples/data/emoji32.zip", old / "data/images.zip");
  write_file(
      old / "configs/sweep.toml",
      "name = \"two\"\nbase = \"small.toml\"\nseeds = [0]\n"
      "set = ['data={ type = \"zip\", path = \"../data/images.zip\", image_size = 16 }', \"log.sample_count=0\"]\n"
      "evaluate = [\"--num\", \"4\", \"--set\", 'evaluate.judges=[{type=\"pixels\"}]', \"--set\", "
      "\"evaluate.reference_num=20\"]\n[[arms]]\nname = \"plain\"\nset = [\"metrics=[]\"]\n"
      "[[arms]]\nname = \"l1\"\n");
  const std::string command = "export CASDM_CACHE=$PWD/cache; casdm sweep configs/sweep.toml --no-pilot";
  const Outcome first = shell(command, old);
  REQUIRE_MESSAGE(first.status == 0, first.err);

  fs::rename(old, now);
  const Outcome moved = shell(command, now);
  REQUIRE_MESSAGE(moved.status == 0, moved.err);
  CHECK_MESSAGE(contains(moved.err, "every run is complete"), moved.err);
  // One must be trained further, the other judged again: the images are read from their new place.
  fs::remove_all(now / "runs/two/l1-s0/checkpoints/000000000024");
  fs::remove_all(now / "runs/two/plain-s0/evaluation");
  const Outcome resumed = shell(command, now);
  REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(fs::exists(now / "runs/two/l1-s0/checkpoints/000000000024"));
  CHECK_FALSE(fs::is_empty(now / "runs/two/plain-s0/evaluation"));
  CHECK(resumed.out == first.out);

  // Other data make another experiment.
  std::string sweep = read_file(now / "configs/sweep.toml");
  write_file(now / "configs/sweep.toml", sweep.replace(sweep.find("images.zip"), 10, "others.zip"));
  fs::copy(now / "data/images.zip", now / "data/others.zip");
  const Outcome other = shell(command, now);
  CHECK(other.status == 2);
  CHECK_MESSAGE(contains(other.err, "is a run of another experiment: data.path"), other.err);
}

TEST_CASE(
    "the runs of another project's sweep of the same name are not mistaken for its own, even if all looks the same") {
  const TemporaryFolder folder;
  for (const char* project : {"one", "two"}) {
    const fs::path at = folder.path() / project;
    fs::create_directories(at / "data");
    write_small_config(at);
    fs::copy(source_dir() / "examples/data/emoji32.zip", at / "data/images.zip");
    write_file(at / "sweep.toml",
               "name = \"same\"\nbase = \"small.toml\"\nseeds = [0]\nset = ['data={ type = \"zip\", path = "
               "\"data/images.zip\", image_size = 16 }', \"log.sample_count=0\"]\n[[arms]]\nname = \"plain\"\n");
  }
  REQUIRE(shell("casdm sweep one/sweep.toml --no-pilot", folder.path()).status == 0);
  const std::string plan = read_file(folder.path() / "runs/same/sweep.json");
  const Outcome other = shell("casdm sweep two/sweep.toml --no-pilot", folder.path());
  CHECK(other.status == 2);
  CHECK_MESSAGE(contains(other.err, "is a run of another experiment: data.path"), other.err);
  CHECK(read_file(folder.path() / "runs/same/sweep.json") == plan);
}

TEST_CASE("the shipped sweep trains its three arms and makes a page about them") {
  const TemporaryFolder folder;
  // Fewer samples than the file asks for, and a network to match.
  const std::string configs = (source_dir() / "configs").string();
  REQUIRE(shell("sed -e 's|\"300\", \"--steps\", \"20\"|\"60\", \"--steps\", \"2\"|' -e 's|\\.\\./base|" + configs +
                    "/base|' '" + configs + "/study/quick.toml' >quick.toml && grep -q '\"60\"' quick.toml",
                folder.path())
              .status == 0);
  const Outcome outcome = shell(
      "casdm sweep quick.toml --no-pilot --set train.total_images=16 --set log.every_images=16 "
      "--set log.sample_count=0 --set log.sample_every_images=0 "
      "--set optimizer.warmup_images=0 "
      "--set head.theta.channels=8 --set head.theta.groups=4 "
      "--set head.phi.channels=8 --set head.phi.groups=4 "
      "--set sampler.num_inference_steps=2 --set 'evaluate.judges=[{type=\"random_patches\"}]'",
      folder.path());
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.err, "sweep quick: 3 arms, 6 runs in runs/quick"));
  CHECK(contains(outcome.out, "casdm_st_lpips differs from casdm in metrics: [] -> [st_lpips]\n"));
  // Two seeds: means, differences and their intervals, in the table and on the page.
  const std::string page = read_file(folder.path() / "runs/quick/report.html");
  const Value results = from_json(read_file(folder.path() / "runs/quick/results.json"));
  std::size_t intervals = 0;
  for (const Value& measure : results.find("measures")->as_array()) {
    if (!measure.find("name")->as_string().starts_with("random_patches.")) continue;
    CHECK(contains(outcome.out, measure.find("name")->as_string()));
    CHECK(contains(page, measure.find("name")->as_string()));
    REQUIRE(measure.find("arms")->as_array().size() == 3);
    for (const Value& arm : measure.find("arms")->as_array()) {
      const Value* difference = arm.find("difference");
      CHECK((difference == nullptr) == (arm.find("arm")->as_string() == "casdm"));
      for (const Value* estimate : {&arm, difference}) {
        if (estimate == nullptr) continue;
        CHECK(estimate->find("seeds") != nullptr);
        CHECK(*estimate->find("seeds") == Value(2));
        const double low = estimate->find("low")->as_number(), mean = estimate->find("mean")->as_number();
        CHECK(low <= mean);
        CHECK(mean <= estimate->find("high")->as_number());
        ++intervals;
      }
    }
  }
  CHECK(intervals >= 5);
  for (const char* part : {"[", "casdm_st_lpips beside casdm: ", "casdm_ssim beside casdm: "}) {
    CHECK(contains(outcome.out, part));
    CHECK(contains(page, part));
  }
  CHECK(contains(read_file(folder.path() / "runs/quick/report.html"), "<h1>quick</h1>"));
  const Outcome report = shell("casdm report runs/quick/casdm-s1", folder.path());
  CHECK_MESSAGE(report.status == 0, report.err);
  CHECK(contains(read_file(folder.path() / "runs/quick/casdm-s1/report.html"), "<h1>casdm-s1</h1>"));
  write_file(folder.path() / "mine.html", "mine");
  CHECK(shell("casdm report runs/quick --out mine.html", folder.path()).status == 2);
  CHECK(read_file(folder.path() / "mine.html") == "mine");
}

TEST_CASE("the sweep of the study can be composed: ten arms, three seeds, theta alone or with phi") {
  const TemporaryFolder folder;
  const std::string tree = source_dir().string();
  const Outcome outcome =
      shell("casdm sweep '" + tree + "/configs/study/study.toml' --dry-run --no-pilot --set data.path='" + tree +
                "/examples/data/emoji32.zip'",
            folder.path());
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "sweep study: 10 arms, 30 runs in runs/study"));
  CHECK(contains(outcome.out, "casdm (baseline)"));
}

TEST_CASE("a sweep judges each run once it is trained, and compares the scores") {
  const Study study("evaluate = [\"--num\", \"8\"]\nset = [\"evaluate.judges=[{type='pixels'}]\"]\n" +
                    std::string(kTwoArms));
  const Outcome outcome = study.run("--no-pilot");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "pixels.frechet (lower is better)"));
  CHECK_FALSE(contains(outcome.out, "loss.eps"));  // it is in the files
  CHECK(contains(study.content("runs/two/results.csv"), ",pixels.frechet,"));
  CHECK(contains(study.content("runs/two/report.html"), "pixels.frechet"));

  // With other judges, nothing is trained again.
  study.write("evaluate = [\"--num\", \"9\"]\nset = [\"evaluate.judges=[{type='pixels'}]\"]\n" + std::string(kTwoArms));
  const auto written = fs::last_write_time(study.path("runs/two/l1-s1/metrics.jsonl"));
  const Outcome again = study.run("--no-pilot");
  REQUIRE_MESSAGE(again.status == 0, again.err);
  CHECK(contains(again.out, "pixels.frechet num=9 (lower is better)"));
  CHECK(fs::last_write_time(study.path("runs/two/l1-s1/metrics.jsonl")) == written);

  // What --config includes counts, too.
  const auto records = [&] {
    const fs::path folder = study.path("runs/two/l1-s1/evaluation");
    return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
  };
  write_file(study.path("judge.toml"), "include = [\"seed.toml\"]\n[evaluate]\nnum = 8\n");
  study.write("evaluate = [\"--config\", \"judge.toml\"]\nset = [\"evaluate.judges=[{type='pixels'}]\"]\n" +
              std::string(kTwoArms));
  std::ptrdiff_t before = records();
  for (const auto& [seed, judged] : {std::pair(5, 1), std::pair(6, 1), std::pair(6, 0)}) {
    write_file(study.path("seed.toml"), text("[evaluate]\nseed = ", seed, "\n"));
    const Outcome included = study.run("--no-pilot");
    REQUIRE_MESSAGE(included.status == 0, included.err);
    CHECK(records() == before + judged);
    before = records();
  }

  // An error that only the evaluation would notice: more images than the data set has.
  study.write(
      "evaluate = [\"--set\", \"evaluate.reference_num=90000000\"]\nset = [\"evaluate.judges=[{type='pixels'}]\"]\n" +
      std::string(kTwoArms));
  const Outcome failed = study.run("--no-pilot");
  CHECK(failed.status == 1);
  CHECK(contains(failed.out, "plain, seed 0: failed: its evaluation: evaluate.reference_num"));
}

TEST_CASE("a stopped sweep continues bit for bit, however its runs are started") {
  const Study whole;
  REQUIRE(whole.run("--no-pilot --jobs 2", "OMP_NUM_THREADS=1 ").status == 0);
  const Study stopped;
  const Outcome first = stopped.run(
      "--no-pilot & sweep=$!; until grep -qs images runs/two/plain-s0/metrics.jsonl; do sleep 0.05; done; "
      "kill -TERM $sweep; wait $sweep",
      "OMP_NUM_THREADS=1 ");
  CHECK(first.status == 1);
  CHECK(contains(first.err, "stopped; the same command continues"));
  CHECK_FALSE(fs::exists(stopped.path("runs/two/l1-s1")));
  const Outcome printed = stopped.run("--print");
  CHECK(std::count(printed.out.begin(), printed.out.end(), '\n') >= 3);
  const Outcome cells = stopped.run("--print | OMP_NUM_THREADS=1 sh -e");
  REQUIRE_MESSAGE(cells.status == 0, cells.err);
  CHECK(weights(stopped) == weights(whole));
  CHECK(stopped.run("--print").out.empty());
  CHECK(stopped.run("").out == whole.run("").out);
}

TEST_CASE("processes can share the runs of a sweep, and the table has the same numbers as with one") {
  const Study alone, shared;
  REQUIRE(alone.run("--no-pilot", "OMP_NUM_THREADS=1 ").status == 0);
  const Outcome outcome = shared.run("--processes 2", "OMP_NUM_THREADS=1 ");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_FALSE(contains(outcome.err, "FAILED"));
  for (const char* cell : {"plain-s0", "plain-s1", "l1-s0", "l1-s1"}) {
    const double one = last_loss(alone, cell), two = last_loss(shared, cell);
    CHECK_MESSAGE(two == doctest::Approx(one).epsilon(1e-3), cell);  // sums of float32 in a different order
    CHECK(contains(shared.content(text("runs/two/logs/", cell, ".log")), "2 processes"));
  }
  CHECK(contains(Study().run("--print --processes 2").out, " --processes 2"));
}

TEST_CASE("what every training would refuse is refused before the first run") {
  const Study study(std::string(kTwoArms) + "[[arms]]\nname = \"void\"\nset = [\"optimizer.learning_rate=1e-60\"]\n");
  const Outcome outcome = study.run("--no-pilot");
  CHECK(outcome.status == 2);
  CHECK_MESSAGE(contains(outcome.err, "arm \"void\": "), outcome.err);
  CHECK_MESSAGE(contains(outcome.err, "optimizer.learning_rate"), outcome.err);
  CHECK_FALSE(fs::exists(study.path("runs")));
  // A cell chosen by name, and commands for other machines, do not depend on the other arms.
  CHECK(study.run("--print").status == 0);
  CHECK(study.run("--cell plain-s0").status == 0);
  study.write(std::string(kTwoArms) + "[[arms]]\nname = \"more\"\nset = [\"train.batch_size=6\"]\n");
  const Outcome shared = study.run("--no-pilot --processes 4");
  CHECK(shared.status == 2);
  CHECK_MESSAGE(contains(shared.err, "arm \"more\": train.batch_size: --processes 4 cannot share 6"), shared.err);
}

TEST_CASE("a failed cell is a row with its message, the others go on, and the next call tries it again") {
  const Study study(std::string(kTwoArms) + R"(
[[arms]]
name = "wild"
set = ["optimizer.learning_rate=1e30", "optimizer.clip_norm=0"]
)");
  const Outcome outcome = study.run("--no-pilot --jobs 2");
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "wild-s0 FAILED: step "));
  CHECK(contains(outcome.err, "2 runs failed"));
  CHECK(contains(outcome.out, "wild, seed 1: failed: step "));
  CHECK(contains(outcome.out, "0 of 2"));
  CHECK(contains(study.content("runs/two/results.csv"), "failed: step "));
  const Value results = from_json(study.content("runs/two/results.json"));
  CHECK(
      contains(results.find("arms")->as_array()[2].find("runs")->as_array()[0].find("problem")->as_string(), "failed"));

  study.write(std::string(kTwoArms) + "[[arms]]\nname = \"tame\"\nset = [\"optimizer.learning_rate=2e-4\"]\n");
  const Outcome tamed = study.run("--no-pilot");
  CHECK_MESSAGE(tamed.status == 0, tamed.err);
  CHECK_FALSE(contains(tamed.out, "wild"));
}

TEST_CASE("if a process of a cell is killed, the cell has failed") {
  const Study study;
  const Outcome outcome = study.run(
      "--no-pilot --set train.total_images=100k & sweep=$!; until grep -qs images runs/two/plain-s0/metrics.jsonl; do "
      "sleep 0.05; done; kill -9 $(grep -o '[0-9]*' runs/two/plain-s0/.lock | head -n 1); "
      "until grep -qs images runs/two/l1-s0/metrics.jsonl; do sleep 0.05; done; kill -TERM $sweep; wait $sweep");
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "plain-s0 FAILED: was killed by signal 9 (Killed)"));
  CHECK(contains(outcome.out, "plain, seed 0: failed: was killed by signal 9"));
}

TEST_CASE("failing writes in the middle of a sweep fail their cells and lose nothing") {
  const Study study;
  // Files larger than 32 KiB: those of a checkpoint, but not logs or tables.
  const Outcome outcome = study.run("--no-pilot", "ulimit -f 64; ");
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.out, "plain, seed 0: failed: "));
  CHECK(contains(study.content("runs/two/results.csv"), "File too large"));
  const Outcome again = study.run("--no-pilot");
  CHECK_MESSAGE(again.status == 0, again.err);
}

TEST_CASE("the plan of a sweep names arms, sizes and times, and changes nothing") {
  const Study study;
  const Outcome outcome = study.run("--dry-run");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "2 arms, 4 runs in runs/two"));
  CHECK(contains(outcome.out, "4 runs to do: about "));
  CHECK_FALSE(fs::exists(study.path("runs")));
}

TEST_CASE("the leftovers of a sweep that was killed during its pilot are removed by the next one") {
  const Study study;
  const Outcome killed = study.run(
      "& sweep=$!; until ls -d runs/.tmp-*/log; do sleep 0.05; done >/dev/null 2>&1; kill -9 $sweep; wait $sweep");
  CHECK(contains(shell("ls -A runs", study.folder.path()).out, ".tmp-"));
  REQUIRE(study.run("").status == 0);
  CHECK_FALSE(contains(shell("ls -A runs", study.folder.path()).out, ".tmp-"));
}

TEST_CASE("the plan says which arm cannot be trained") {
  const Study study(std::string(kTwoArms) +
                    "[[arms]]\nname = \"lost\"\nset = [\"data={type='zip', path='none.zip'}\"]\n");
  const Outcome missing = study.run("--dry-run");
  CHECK(missing.status == 2);
  CHECK_MESSAGE(contains(missing.err, study.path("none.zip").string()), missing.err);  // relative to the sweep file
  write_file(study.path("none.zip"), "no archive");
  const Outcome outcome = study.run("--dry-run");
  CHECK(contains(outcome.out, "lost cannot be trained: "));
}

TEST_CASE("a job array for Slurm trains one cell per task") {
  const Study study;
  const Outcome outcome = study.run("--slurm --jobs 3 > job.sh && bash -n job.sh && SLURM_ARRAY_TASK_ID=1 bash job.sh");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  const std::string script = study.content("job.sh");
  CHECK(contains(script, "#SBATCH --array=0-3%3\n"));
  CHECK(contains(script, "cells=(plain-s0 l1-s0 plain-s1 l1-s1)"));
  CHECK(fs::exists(study.path("runs/two/l1-s0/checkpoints/000000000024")));
  CHECK_FALSE(fs::exists(study.path("runs/two/plain-s0")));
}

TEST_CASE("a grid trains every arm at every point, and compares arms at equal points") {
  const Study study(std::string(kTwoArms) + "baseline = \"l1\"\n");  // a key of the last arm: refused
  CHECK(contains(study.run("--dry-run").err, "unknown key"));
  study.write("baseline = \"l1\"\n" + std::string(kTwoArms) +
              "[[grid]]\nkey = \"optimizer.learning_rate\"\nvalues = [1e-4, 2e-4]\n");
  const Outcome outcome = study.run("--print");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(std::count(outcome.out.begin(), outcome.out.end(), '\n') == 8);
  CHECK(contains(outcome.out, "--cell plain-learning_rate=1e-04-s0"));
  const Outcome plan = study.run("--dry-run --no-pilot");
  CHECK(contains(plan.out, "l1 optimizer.learning_rate=2e-04 (baseline)"));
}
