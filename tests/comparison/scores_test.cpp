#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/text.h"
#include "comparison/compared_runs.h"
#include "framework/comparison/result_files.h"
#include "framework/comparison/tables.h"
#include "framework/support/sealed_json.h"

using namespace casdm;
using namespace casdm::testing;

TEST_CASE("the scores of a run are those of its last checkpoint's evaluations, with direction and judge") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 1);
  const auto evaluation = [](int images, const std::string& weights, double value, const std::string& trained_with) {
    return text(R"({"format":1,"what":"run","num":2000,"run":{"checkpoint":{"images":)", images,
                R"(},"weights":{"name":")", weights, R"("},"steps":50},"reference":{"name":"emoji"},"scores":[)",
                R"({"name":"eye.distance","value":)", number(value), R"(,"standard_error":0.5,"lower_is_better":true,)",
                R"("judge":"eye","extractor":{"feature":"pool"},"trained_with":[)", trained_with,
                R"(]},{"name":"eye.recall","value":0.75,"standard_error":null,"lower_is_better":false,"judge":"eye",)",
                R"("extractor":{"feature":"pool"},"trained_with":[]}],"warnings":["eye.recall: few images"]})");
  };
  folder.write("runs/a/evaluation/000000000500-ema-0.json", evaluation(500, "ema", 99, ""));
  folder.write("runs/a/evaluation/000000001000-ema-1.json", evaluation(1000, "ema", 12, R"("metric.l1")"));
  folder.write("runs/a/evaluation/000000001000-ema-1.json.state", "half-written");

  RunRecord run = read_run_record("runs/a");
  REQUIRE(run.find("eye.distance") != nullptr);
  CHECK(run.find("eye.distance")->value == 12);
  CHECK(run.find("eye.distance")->better == Better::lower);
  CHECK(*run.find("eye.distance")->standard_error == 0.5);
  CHECK(run.find("eye.recall")->better == Better::higher);
  CHECK_FALSE(run.find("eye.recall")->standard_error);
  CHECK(run.find("eye.recall")->about == "judge eye (pool), 2000 images against emoji, weights ema, steps 50");
  CHECK(run.warnings == std::vector<std::string>{"eye.distance is judged by a network it was trained with (metric.l1)",
                                                 "eye.recall: few images"});
  make_run(folder, "b", 0, "l2", 1);
  CHECK(all_remarks(compare_runs({"runs/a", "runs/b"}, "")).at(1) ==
        "a: eye.distance is judged by a network it was trained with (metric.l1)");
  const Comparison comparison = compare_runs({"runs/a"}, "");
  CHECK(all_remarks(comparison).front() == "eye.distance is judged by a network it was trained with (metric.l1)");
  CHECK(chosen_measures(summarise(comparison), {}).front().name == "eye.distance");
  CHECK(chosen_measures(summarise(comparison), {}).size() == 2);  // the losses are only in the files

  // A second average, so the names say which.
  folder.write("runs/a/evaluation/000000001000-raw-2.json", evaluation(1000, "raw", 15, ""));
  folder.write("runs/a/evaluation/000000001000-raw-3.json", "{");
  run = read_run_record("runs/a");
  CHECK(run.find("eye.distance") == nullptr);
  CHECK(run.find("eye.distance weights=ema")->value == 12);
  CHECK(run.find("eye.distance weights=raw")->value == 15);
  folder.write("runs/a/evaluation/000000001000-raw-4.json", evaluation(1000, "averages/raw", 17, ""));
  run = read_run_record("runs/a");
  CHECK(run.find("eye.distance weights=raw")->value == 15);
  CHECK(run.find("eye.distance weights=./raw")->value == 17);
  std::filesystem::remove("runs/a/evaluation/000000001000-raw-4.json");
  run = read_run_record("runs/a");
  CHECK(run.warnings.front().starts_with("not taken: runs/a/evaluation/000000001000-raw-3.json: "));

  // One digit of a score was changed after it was written.
  std::string record = to_json(sealed(from_json(evaluation(1000, "raw", 15, ""))));
  folder.write("runs/a/evaluation/000000001000-raw-2.json", record);
  CHECK(read_run_record("runs/a").find("eye.distance weights=raw")->value == 15);
  record.replace(record.find("15"), 2, "14");
  folder.write("runs/a/evaluation/000000001000-raw-2.json", record);
  run = read_run_record("runs/a");
  CHECK(run.find("eye.distance weights=raw") == nullptr);
  CHECK(join(run.warnings, "\n").find("000000001000-raw-2.json: it is altered") != std::string::npos);
}

TEST_CASE("a run with more scores or warnings than are compared is said to have them") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 1);
  std::string scores, warnings;
  for (int i = 0; i < 1001; ++i) {
    scores += text(i > 0 ? "," : "", R"({"name":"eye.)", i, R"(","value":1,"lower_is_better":true,"judge":"eye"})");
    warnings += text(i > 0 ? "," : "", '"', i, '"');
  }
  const auto record = [](const std::string& scores, const std::string& warnings) {
    return text(R"({"format":1,"what":"run","num":2,"run":{"checkpoint":{"images":1000}},"scores":[)", scores,
                R"(],"warnings":[)", warnings, "]}");
  };
  folder.write("runs/a/evaluation/000000001000-ema-1.json", record(scores, ""));
  RunRecord run = read_run_record("runs/a");
  CHECK(run.warnings == std::vector<std::string>{"an evaluation is ignored: the run has more than 1000 scores"});
  folder.write("runs/a/evaluation/000000001000-ema-1.json", record("", warnings));
  CHECK(read_run_record("runs/a").warnings.back() == "an evaluation is ignored: the run has more than 1000 warnings");
}

TEST_CASE("an evaluation whose scores have names that cannot be shown is ignored") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 1);
  folder.write("runs/a/evaluation/000000001000-ema-1.json",
               R"({"format":1,"what":"run","num":2,"run":{"checkpoint":{"images":1000}},"scores":[{"name":)"
               R"("eye\nfake: line","value":1,"lower_is_better":true,"judge":"eye"}],"warnings":[]})");
  const RunRecord run = read_run_record("runs/a");
  CHECK(run.warnings == std::vector<std::string>{"an evaluation is ignored: a score has the name \"eye\\nfake: line\", "
                                                 "which cannot be shown"});
}

TEST_CASE("of evaluations of very many bytes, the oldest are not read, which is said") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 1);
  const std::string record =
      R"({"format":1,"what":"run","num":2,"run":{"checkpoint":{"images":1000}},"scores":[{"name":"eye.SCORE",)"
      R"("value":1,"lower_is_better":true,"judge":"eye"}],"warnings":[]})";
  const std::filesystem::path files = "runs/a/evaluation";
  const auto now = std::filesystem::file_time_type::clock::now();
  for (const auto& [name, megabytes, age] :
       {std::tuple("old", 1, 3), std::tuple("large", 255, 2), std::tuple("new", 1, 1)}) {
    std::string own = record;
    own.replace(own.find("SCORE"), 5, name);
    folder.write((files / (std::string(name) + ".json")).string(), own);
    std::filesystem::resize_file(files / (std::string(name) + ".json"), static_cast<std::uintmax_t>(megabytes) << 20);
    std::filesystem::last_write_time(files / (std::string(name) + ".json"), now - std::chrono::hours(age));
  }
  folder.write((files / "now.json").string(), record);
  const RunRecord run = read_run_record("runs/a");
  CHECK(run.find("eye.SCORE") != nullptr);
  CHECK(run.warnings.front() ==
        "the oldest 2 of the 4 files in runs/a/evaluation are not taken: together they have more than 256 MiB");
}

TEST_CASE("an evaluation with more settings than are compared is ignored, which is said") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 1);
  const auto record = [](int scores, int settings) {
    std::string all, options;
    for (int i = 0; i < scores; ++i) {
      all += text(i > 0 ? "," : "", R"({"name":"eye.)", i, R"(","value":1,"lower_is_better":true,"judge":"eye"})");
    }
    for (int i = 0; i < settings; ++i) options += text(",\"o", i, "\":", i);
    return text(R"({"format":1,"what":"run","num":2,"run":{"checkpoint":{"images":1000},"sampler":{"type":"s")",
                options, "}},\"scores\":[", all, "],\"warnings\":[]}");
  };
  const auto warnings = [&](int scores, int settings) {
    folder.write("runs/a/evaluation/000000001000-ema-1.json", record(scores, settings));
    return join(read_run_record("runs/a").warnings, "\n");
  };
  CHECK(warnings(1000, 900) == "");
  const std::string ignored = "an evaluation is ignored: the run's scores have more than 10000 settings";
  CHECK(warnings(1000, 1100).starts_with(ignored));
  CHECK(warnings(1, 11'000).starts_with(ignored));
}

namespace {

/// The settings of an evaluation.
struct Asked {
  std::string sampler = R"({"type":"s/ddim","eta":0.0})";
  int num = 24;
  std::string reference = R"({"name":"emoji","num":400,"sha256":"aa"})";
  std::string metric_options = "{}";
  int batch = 64;
  int reference_num = 400;
  std::string plugins = "{}";
  std::string options = R"({"gain":1.0,"weights":"/here/eye.safetensors"})";
};

void judge(const TemporaryFolder& folder, const std::string& run, const std::string& file, double value,
           const Asked& asked) {
  folder.write(text("runs/", run, "/evaluation/", file, ".json"),
               to_json(sealed(from_json(text(
                   R"({"plugins":)", asked.plugins, R"(,"num":)", asked.num,
                   R"(,"run":{"checkpoint":{"images":1000},"weights":{"name":"ema"},)", R"("sampler":)", asked.sampler,
                   R"(,"steps":10,"guidance":{"scale":1.0},"labels":"none","seed":0,)", R"("batch":)", asked.batch,
                   R"(},"reference":)", asked.reference, R"(,"scores":[{"name":"eye.distance","value":)", number(value),
                   R"(,"standard_error":null,)", R"("lower_is_better":true,"reference_num":)", asked.reference_num,
                   R"(,"judge":"eye","metric":"m/distance","metric_options":)", asked.metric_options,
                   R"(,"extractor":{"type":"e/eye","options":)", asked.options,
                   R"(,"located_by":["weights"],"weights_sha256":"ab","feature":"pool"},)",
                   R"("trained_with":[]}],"warnings":[]})")))));
}

/// A run with the sampler of `Asked`, unless another is given.
void make_judged(const TemporaryFolder& folder, const std::string& name, std::int64_t seed, const std::string& metric,
                 const std::string& sampler = "type = \"s/ddim\"\neta = 0") {
  make_run(folder, name, seed, metric, 1);
  folder.write(text("runs/", name, "/config.toml"),
               text(config(name, seed, metric), "[sampler]\n", sampler, "\n[guidance]\nscale = 1.0\n"));
}

std::string scores_in(const Comparison& comparison) {
  std::string result;
  for (const MeasureSummary& measure : chosen_measures(summarise(comparison), {"eye*"})) {
    result += measure.name + ":";
    for (const ArmSummary& arm : measure.arms) {
      result += text(" ", comparison.arms[arm.arm].name, " ", number(arm.mean.mean), arm.difference ? " -" : "",
                     arm.is_best ? " *" : "");
    }
    result += "\n";
  }
  return result;
}

bool says(const Comparison& comparison, const std::string& words) {
  const std::vector<std::string> lines = all_remarks(comparison);
  return std::find(lines.begin(), lines.end(), words) != lines.end();
}

}  // namespace

TEST_CASE("evaluations of a run that differ in a sampler option keep distinct names in every seed") {
  const TemporaryFolder folder;
  for (const int seed : {0, 1}) {
    const std::string run = text("p-s", seed);
    make_judged(folder, run, seed, "l1");
    // The order of files does not matter.
    judge(folder, run, seed == 0 ? "a" : "b", 300 + seed, {});
    judge(folder, run, seed == 0 ? "b" : "a", 200 + seed, {R"({"type":"s/ddim","eta":1.0})"});
  }
  const Comparison comparison = compare_runs({"runs/p-s0", "runs/p-s1"}, "");
  CHECK(scores_in(comparison) == "eye.distance sampler.eta=0: p 300.5\neye.distance sampler.eta=1: p 200.5\n");
  for (const std::string& line : all_remarks(comparison)) CHECK_FALSE(line.starts_with("measured differently"));
}

TEST_CASE("arms are compared only in scores measured the same way, and a line says why others are not") {
  const TemporaryFolder folder;
  const std::vector<std::filesystem::path> runs = {"runs/p-s0", "runs/p-s1", "runs/q-s0", "runs/q-s1"};
  Asked other;
  std::string setting, reading;
  SUBCASE("number of images") { other.num = 200, setting = " num=24", reading = " num=200"; }
  SUBCASE("reference") {
    other.reference = R"({"name":"faces","num":400,"sha256":"bb"})";
    setting = " reference=emoji", reading = " reference=faces";
  }
  SUBCASE("images of the reference") {
    other.reference = R"({"name":"emoji","num":30,"sha256":"bb"})";
    other.reference_num = 30;
    setting = " reference.num=400", reading = " reference.num=30";
  }
  SUBCASE("option of the metric") {
    other.metric_options = R"({"subsets":100})", setting = "", reading = " metric.subsets=100";
  }
  SUBCASE("option of the judge, whatever its weights") {
    other.options = R"({"gain":10.0,"weights":"/here/eye.safetensors"})";
    setting = " judge.gain=1", reading = " judge.gain=10";
  }
  SUBCASE("option of the sampler that the experiment does not set") {
    other.sampler = R"({"type":"s/ddim","eta":0.5})", setting = " sampler.eta=0", reading = " sampler.eta=0.5";
  }
  for (const int seed : {0, 1}) {
    make_judged(folder, text("p-s", seed), seed, "l1");
    make_judged(folder, text("q-s", seed), seed, "l2");
    judge(folder, text("p-s", seed), "a", 300 + seed, {});
    judge(folder, text("q-s", seed), "a", 200 + seed, other);
  }
  const Comparison comparison = compare_runs(runs, "p");
  CHECK(scores_in(comparison) == text("eye.distance", setting, ": p 300.5\neye.distance", reading, ": q 200.5\n"));
  CHECK(findings(comparison, chosen_measures(summarise(comparison), {})).empty());
  const std::vector<std::string> names = {text("eye.distance", setting, " (p)"), text("eye.distance", reading, " (q)")};
  CHECK(says(comparison, text("measured differently, so not compared with each other: ",
                              join(setting < reading ? names : std::vector{names[1], names[0]}, "; "))));
  // A seed of the other arm that was measured the same way is compared.
  judge(folder, "q-s1", "b", 290, {});
  const Comparison again = compare_runs(runs, "p");
  CHECK(scores_in(again).find(text("eye.distance", setting, ": p 300.5 q 290.0 -\n")) != std::string::npos);
  for (const std::string& line : all_remarks(again)) CHECK_MESSAGE(line.find("it has none") == std::string::npos, line);
}

TEST_CASE("an arm without an evaluation that others have is named") {
  const TemporaryFolder folder;
  make_judged(folder, "p", 0, "l1");
  make_judged(folder, "q", 0, "l2");
  judge(folder, "q", "a", 300, {});
  CHECK(
      says(compare_runs({"runs/p", "runs/q"}, ""), "p, seed 0: no eye.distance: it has none, although other arms do"));
  // The losses of metrics differ by intention.
  CHECK_FALSE(says(compare_runs({"runs/q", "runs/p"}, ""), "q, seed 0: no "));
}

TEST_CASE("arms whose experiments have different samplers are compared, each sampled as its experiment says") {
  const TemporaryFolder folder;
  const std::vector<std::filesystem::path> runs = {"runs/p-s0", "runs/p-s1", "runs/q-s0", "runs/q-s1"};
  Asked own{R"({"type":"s/heun","spacing":"karras"})"};
  own.options = R"({"gain":1.0,"weights":"/there/eye.safetensors"})";  // other machines have them elsewhere
  for (const int seed : {0, 1}) {
    make_judged(folder, text("p-s", seed), seed, "l1");
    make_judged(folder, text("q-s", seed), seed, "l1", "type = \"s/heun\"\nspacing = \"karras\"");
    judge(folder, text("p-s", seed), "a", 300 + seed, {});
    judge(folder, text("q-s", seed), "a", 200 + seed, own);
  }
  CHECK(scores_in(compare_runs(runs, "p")) == "eye.distance: p 300.5 q 200.5 - *\n");
  // Also with the sampler of p: this is another measure, in which p is sampled in the same way.
  for (const int seed : {0, 1}) judge(folder, text("q-s", seed), "b", 400 + seed, {});
  const Comparison comparison = compare_runs(runs, "p");
  CHECK(scores_in(comparison) ==
        "eye.distance sampler=s/ddim: p 300.5 * q 400.5 -\neye.distance sampler=s/heun: q 200.5\n");
}

TEST_CASE("of evaluations measured the same way the newest counts, and that is reported") {
  const TemporaryFolder folder;
  make_judged(folder, "p", 0, "l1");
  judge(folder, "p", "a", 300, {});
  Asked batched;
  batched.batch = 1;
  judge(folder, "p", "b", 301, batched);
  const auto set_age = [](const char* file, int hours) {
    std::filesystem::last_write_time(text("runs/p/evaluation/", file, ".json"),
                                     std::filesystem::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  set_age("a", 1);
  set_age("b", 2);
  CHECK(read_run_record("runs/p").find("eye.distance")->value == 300);
  set_age("a", 3);
  const RunRecord run = read_run_record("runs/p");
  CHECK(run.find("eye.distance")->value == 301);
  CHECK(run.warnings ==
        std::vector<std::string>{"eye.distance: of evaluations that differ in nothing but batch, device, "
                                 "versions or files, the newest counts"});
}

TEST_CASE("what [evaluate] logged at the end of a training counts unless an evaluation repeats it") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 1);
  const auto scores = [](int images, double value) {
    return text(R"({"images":)", images,
                R"(,"evaluation":{"num":64,"weights":"ema","scores":{"eye.distance":{"value":)", number(value),
                R"(,"standard_error":null,"lower_is_better":true}}}})", "\n");
  };
  folder.write("runs/a/metrics.jsonl", line(500, 9, 9) + scores(500, 30) + line(1000, 1, 0.5) + scores(1000, 20));
  const RunRecord run = read_run_record("runs/a");
  CHECK(run.images == 1000);
  CHECK(run.find("eye.distance")->value == 20);
  CHECK(run.find("eye.distance")->about == "while training, 64 images, weights ema");
  // Another run has an evaluation, possibly with another reference and judge.
  make_judged(folder, "b", 0, "l2");
  judge(folder, "b", "a", 10, {});
  CHECK(scores_in(compare_runs({"runs/a", "runs/b"}, "")) ==
        "eye.distance while training: a 20.0\neye.distance: b 10.0\n");
  folder.write("runs/a/metrics.jsonl", line(500, 9, 9) + scores(500, 30) + line(1000, 1, 0.5));
  CHECK(read_run_record("runs/a").find("eye.distance") == nullptr);
}

TEST_CASE("scores that other builds of the judge or the metric computed are named") {
  const TemporaryFolder folder;
  const auto with_builds = [](const char* plugins) { return Asked{.plugins = plugins}; };
  for (const char* run : {"a-s0", "a-s1", "b-s0", "b-s1"})
    make_judged(folder, run, run[3] - '0', run[0] == 'a' ? "l1" : "l2");
  judge(folder, "a-s0", "1", 3, with_builds(R"({"e":"0.2.0 1111","m":"0.2.0 2222","other":"0.2.0 5555"})"));
  judge(folder, "a-s1", "1", 4, with_builds(R"({"e":"0.2.0 1111","m":"0.2.0 2222","other":"0.2.0 6666"})"));
  judge(folder, "b-s0", "1", 2, with_builds(R"({"e":"0.2.0 3333","m":"0.3.0 4444","other":"0.2.0 5555"})"));
  judge(folder, "b-s1", "1", 2, with_builds(R"({"e":"0.2.0 3333","m":"0.3.0 4444"})"));
  CHECK(says(compare_runs({"runs/a-s0", "runs/a-s1", "runs/b-s0", "runs/b-s1"}, ""),
             "b-s0, b-s1: judged by other builds of plugins than a-s0: e (3333 instead of 1111), "
             "m (0.3.0 4444 instead of 0.2.0 2222)"));
  for (const std::string& line : all_remarks(compare_runs({"runs/a-s0", "runs/a-s1"}, ""))) {
    CHECK_MESSAGE(line.find("judged by") == std::string::npos, line);
  }
}
