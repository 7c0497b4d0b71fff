#include "framework/comparison/comparison.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "casdm/text.h"
#include "comparison/compared_runs.h"
#include "framework/comparison/result_files.h"
#include "framework/comparison/run_record.h"
#include "framework/comparison/tables.h"
#include "framework/config/document.h"
#include "framework/config/parse_toml.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Two arms over three seeds whose x0 differs by 0.1, 0.2 and 0.3, while the seeds differ by much more.
void make_runs(const TemporaryFolder& folder) {
  for (const int seed : {0, 1, 2}) {
    make_run(folder, text("plain-s", seed), seed, "l1", 1.0 + 10 * seed);
    make_run(folder, text("better-s", seed), seed, "l2", 0.9 + 9.9 * seed);
  }
}

const std::vector<std::filesystem::path> kRuns = {"runs/plain-s0",  "runs/plain-s1",  "runs/plain-s2",
                                                  "runs/better-s0", "runs/better-s1", "runs/better-s2"};

const MeasureSummary& named(const std::vector<MeasureSummary>& measures, const std::string& name) {
  const auto found = std::find_if(measures.begin(), measures.end(), [&](const auto& m) { return m.name == name; });
  REQUIRE(found != measures.end());
  return *found;
}

}  // namespace

TEST_CASE("the numbers of a run are those of its last complete line of means") {
  const TemporaryFolder folder;
  make_run(folder, "a", 7, "l1", 0.25);
  const RunRecord run = read_run_record("runs/a");
  CHECK(run.seed == 7);
  CHECK(run.images == 1000);
  CHECK(run.total_images == 1000);  // "1k"
  CHECK(run.is_complete());
  CHECK(run.find("loss.x0")->value == 0.25);
  CHECK(run.find("loss.x0")->better == Better::lower);
  CHECK(run.find("loss.x0.by_t.1")->value == 0.125);
  CHECK(run.find("loss.x0.by_t.2") == nullptr);  // null: no images
  CHECK(run.find("statistic.gate")->better == Better::unknown);
  CHECK(run.find("grad_norm.phi")->value == 0.25);
  std::vector<double> seen;
  read_log("runs/a", [&](const Value& line) { seen.push_back(line.find("images")->as_number()); });
  CHECK(seen == std::vector<double>{500, 1000});
  CHECK(message_of<ConfigError>([] { read_run_record("runs"); }) ==
        "runs is not a run folder: it holds no config.toml");
  CHECK(message_of<ConfigError>([] { read_run_record("run"); }) == "\"run\" does not exist; did you mean \"runs\"?");
  folder.write("study/sweep.json", "{}");
  CHECK(message_of<ConfigError>([] { read_run_record("study"); }).find("It is the folder of a sweep") !=
        std::string::npos);
}

TEST_CASE("runs with very many numbers are compared in time that grows with their number, not its square") {
  const TemporaryFolder folder;
  constexpr int kNumbers = 40'000;
  for (const std::string arm : {"a", "b"}) {
    make_run(folder, arm, 0, arm == "a" ? "l1" : "l2", 0.5);
    std::string values;
    for (int i = 0; i < kNumbers; ++i) values += text(i == 0 ? "" : ",", "\"", arm, 100'000 + i, "\":1.5");
    folder.write(text("runs/", arm, "/metrics.jsonl"),
                 text("{\"images\":1000,\"step\":1,\"seconds\":2.5,\"loss\":{", values, "}}\n"));
  }
  const auto start = std::chrono::steady_clock::now();
  const Comparison comparison = compare_runs({"runs/a", "runs/b"}, "");
  const std::vector<MeasureSummary> measures = summarise(comparison);
  CHECK(measures.size() > 2 * kNumbers);
  CHECK_FALSE(remarks(comparison, measures).empty());
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("the difference of two arms is the mean of the differences at equal seeds") {
  const TemporaryFolder folder;
  make_runs(folder);
  const Comparison comparison = compare_runs(kRuns, "");
  REQUIRE(comparison.arms.size() == 2);
  CHECK(comparison.arms[0].name == "plain");
  CHECK(comparison.arms[1].name == "better");
  CHECK(differences(comparison, 1) == std::vector<std::string>{"metrics[0]: l1 -> l2"});

  const std::vector<MeasureSummary> summaries = summarise(comparison);
  const MeasureSummary& x0 = named(summaries, "loss.x0");
  CHECK(x0.of(0)->mean.mean == doctest::Approx(11));
  CHECK_FALSE(x0.of(0)->difference);
  const MeanEstimate difference = *x0.of(1)->difference;
  CHECK(difference.mean == doctest::Approx(-0.2));
  // -0.1, -0.2, -0.3: s = 0.1; t(0.975, 2) s / sqrt(3) = 0.2484
  CHECK(*difference.half_width == doctest::Approx(0.24841).epsilon(1e-4));
  CHECK_FALSE(difference.excludes_zero());
  CHECK_FALSE(x0.of(1)->is_best);  // not certain
}

TEST_CASE("runs are of one experiment whatever decides only how fast, where and with what else they train") {
  const Value plain =
      parse_toml("[run]\nname = \"a\"\nthreads = 1\n[data]\ntype = \"shapes\"\nworkers = 2\n", "a.toml");
  const Value other = parse_toml(
      "[run]\nname = \"b\"\nseed = 3\ndirectory = \"d\"\nthreads = 4\n[data]\ntype = \"shapes\"\nworkers = 1\ncache = "
      "\"never\"\n"
      "[log]\ntensorboard = true\n[checkpoint]\nin_background = \"always\"\n",
      "b.toml");
  CHECK(experiment_of(plain).find("run")->as_table().empty());
  CHECK(to_toml(*experiment_of(plain).find("data")) == to_toml(*experiment_of(other).find("data")));
  for (const char* table : {"run", "log", "checkpoint"}) CHECK(experiment_of(other).find(table)->as_table().empty());
  const Value flipped = parse_toml("[data]\ntype = \"shapes\"\nrandom_flip = true\n", "c.toml");
  CHECK(experiment_of(flipped).find("data")->find("random_flip") != nullptr);
}

TEST_CASE("a difference over fewer seeds than its arm has says so") {
  const TemporaryFolder folder;
  for (const int seed : {0, 1, 2}) make_run(folder, text("plain-s", seed), seed, "l1", 1.0 + 10 * seed);
  for (const int seed : {1, 2, 3}) make_run(folder, text("better-s", seed), seed, "l2", 0.9 + 9.9 * seed);
  const Comparison comparison = compare_runs(
      {"runs/plain-s0", "runs/plain-s1", "runs/plain-s2", "runs/better-s1", "runs/better-s2", "runs/better-s3"}, "");
  const std::vector<MeasureSummary> all = summarise(comparison);
  CHECK_MESSAGE(text_of(comparison, all).find("-0.25 (2 seeds)") != std::string::npos, text_of(comparison, all));
  const std::vector<std::string> lines = remarks(comparison, all);
  CHECK(std::any_of(lines.begin(), lines.end(),
                    [](const std::string& line) { return line.starts_with("an interval over two seeds is 12.7"); }));
}

TEST_CASE("a number that a run lacks but others have is reported with the run and the reason") {
  const TemporaryFolder folder;
  make_runs(folder);
  const auto edited = [&](const std::string& run, const std::string& before, const std::string& after) {
    const std::string log = text("runs/", run, "/metrics.jsonl");
    std::string content = read_file(folder.path() / log);
    const std::size_t at = content.rfind(before);
    REQUIRE(at != std::string::npos);
    folder.write(log, content.replace(at, before.size(), after));
  };
  const auto said = [](const std::string& part) {
    const std::vector<std::string> lines = all_remarks(compare_runs(kRuns, ""));
    return std::count_if(lines.begin(), lines.end(), [&](const auto& line) { return line.find(part) == 0; });
  };
  CHECK(said("better, seed") + said("plain, seed") == 0);  // what no run has is not reported as missing
  edited("better-s1", "{\"gate\":{\"mean\":0.5}}", "{\"gate\":{\"mean\":{\"$numberDouble\":\"NaN\"}}}");
  edited("plain-s2", "{\"phi\":0.25}", "{\"phi\":null}");
  edited("plain-s0", ",\"grad_norm\":{\"phi\":0.25}", "");
  CHECK(said("better, seed 1: no statistic.gate: it is nan") == 1);
  CHECK(said("plain, seed 2: no grad_norm.phi: no image counted in the last line of the log") == 1);
  CHECK(said("plain, seed 0: no grad_norm.phi: it has none, although other runs of the arm do") == 1);
  CHECK(said("better, seed") + said("plain, seed") == 3);
}

TEST_CASE("means of the log over different images are not compared") {
  const TemporaryFolder folder;
  make_runs(folder);
  for (const int seed : {0, 1, 2}) {
    folder.write(text("runs/better-s", seed, "/metrics.jsonl"), line(900, 9, 9) + line(1000, 0.5, 0.5));
  }
  const Comparison comparison = compare_runs(kRuns, "plain");
  const std::vector<MeasureSummary> measures = summarise(comparison);
  CHECK(named(measures, "loss.x0 images=501-1000").arms.size() == 1);
  CHECK(named(measures, "loss.x0 images=901-1000").arms.size() == 1);
  CHECK(findings(comparison, chosen_measures(measures, {})).empty());
  CHECK(named(measures, "seconds").arms.size() == 2);
  std::vector<std::string> lines = all_remarks(comparison);
  std::erase_if(lines, [](const std::string& said) { return !said.starts_with("measured differently"); });
  CHECK(lines == std::vector<std::string>{"measured differently, so not compared with each other: grad_norm.phi, "
                                          "loss.x0, loss.x0.by_t.1, statistic.gate: images=501-1000 (plain); "
                                          "images=901-1000 (better)"});
}

TEST_CASE("the best is marked only if the interval of its difference excludes 0") {
  const TemporaryFolder folder;
  for (const int seed : {0, 1, 2}) {
    make_run(folder, text("plain-s", seed), seed, "l1", 1.0 + seed);
    make_run(folder, text("better-s", seed), seed, "l2", 0.9 + seed + 0.001 * seed);
  }
  SUBCASE("an arm compared with its baseline") {
    const MeasureSummary x0 = named(summarise(compare_runs(kRuns, "plain")), "loss.x0");
    CHECK(x0.of(1)->is_best);
    CHECK_FALSE(x0.of(0)->is_best);
  }
  SUBCASE("the baseline itself, which may be named by the folder of another run") {
    const MeasureSummary x0 = named(summarise(compare_runs(kRuns, "runs/better-s1")), "loss.x0");
    CHECK(x0.of(1)->is_best);
    CHECK_FALSE(x0.of(0)->is_best);
    CHECK(x0.of(0)->difference->mean == doctest::Approx(0.099));
  }
  SUBCASE("an arm whose mean is best, and whose difference over the seeds in common says the contrary") {
    make_run(folder, "better-s3", 3, "l2", -20);
    for (const int seed : {0, 1, 2}) make_run(folder, text("better-s", seed), seed, "l2", 1.1 + seed + 0.001 * seed);
    auto runs = kRuns;
    runs.emplace_back("runs/better-s3");
    const MeasureSummary x0 = named(summarise(compare_runs(runs, "plain")), "loss.x0");
    REQUIRE(x0.of(1)->mean.mean < x0.of(0)->mean.mean);
    REQUIRE(x0.of(1)->difference->excludes_zero());
    CHECK_FALSE(x0.of(1)->is_best);
    const MeasureSummary other = named(summarise(compare_runs(runs, "better")), "loss.x0");
    CHECK_FALSE(other.of(1)->is_best);
  }
  SUBCASE("a number without a direction has no best") {
    const MeasureSummary gate = named(summarise(compare_runs(kRuns, "")), "statistic.gate");
    for (const ArmSummary& arm : gate.arms) {
      CHECK_FALSE(arm.is_best);
    }
  }
}

TEST_CASE("the table says in words what is better, by how much and how certain") {
  const TemporaryFolder folder;
  make_runs(folder);
  const auto found = [](const std::vector<std::filesystem::path>& runs, const std::string& baseline) {
    const Comparison comparison = compare_runs(runs, baseline);
    return findings(comparison, chosen_measures(summarise(comparison), {}));
  };
  using Lines = std::vector<std::string>;
  CHECK(found(kRuns, "plain") == Lines{"better beside plain: no clear difference in loss.x0"});
  CHECK(found({kRuns[0], kRuns[3]}, "") == Lines{"better beside plain: one seed is not enough in loss.x0"});
  for (const int seed : {0, 1, 2}) make_run(folder, text("better-s", seed), seed, "l2", 0.9 + 10 * seed + 0.001 * seed);
  CHECK(found(kRuns, "plain") == Lines{"better beside plain: better in loss.x0 (-0.099, 95 % [-0.1015, -0.09652])"});
  CHECK(found(kRuns, "better") == Lines{"plain beside better: worse in loss.x0 (+0.099, 95 % [0.09652, 0.1015])"});
  const Comparison comparison = compare_runs(kRuns, "plain");
  CHECK(
      text_of(comparison, chosen_measures(summarise(comparison), {})).find("better beside plain: better in loss.x0") !=
      std::string::npos);
}

TEST_CASE("a run trained with other settings before a resume is reported with them") {
  const TemporaryFolder folder;
  make_runs(folder);
  const auto resumed = [&](const std::string& changed) {
    folder.write("runs/better-s1/metrics.jsonl", text(line(500, 9, 9), "{\"resumed\":true,\"images\":500,\"changed\":{",
                                                      changed, "}}\n", line(1000, 10.8, 0.5)));
    return all_remarks(compare_runs(kRuns, ""));
  };
  const std::vector<std::string> none = resumed(R"("train.total_images":{"from":500,"to":1000})");
  CHECK(std::none_of(none.begin(), none.end(), [](const std::string& line) { return line.starts_with("better"); }));
  const std::vector<std::string> found =
      resumed(R"("train.total_images":{"from":500,"to":1000},"log.every_images":{"from":5,"to":6},)"
              R"("metrics[0].type":{"from":"l1","to":"l2"})");
  CHECK(std::find(found.begin(), found.end(),
                  "better: seed 1 was trained with other settings until 500 images: metrics[0].type: \"l1\" -> "
                  "\"l2\"") != found.end());
  // Keys added by a later version, sampling options and the location of data do not change the training; other data do.
  const std::vector<std::string> beside =
      resumed(R"("metrics[0].every":{"from":null,"to":1},"sampler.steps":{"from":10,"to":50},)"
              R"("data.path":{"from":"/a/x.zip","to":"/b/y.zip"})");
  CHECK(std::none_of(beside.begin(), beside.end(), [](const std::string& line) { return line.starts_with("better"); }));
  const std::vector<std::string> others = resumed("},\"other_data\":\"120 images instead of 100\",\"more\":{");
  CHECK(std::find(others.begin(), others.end(),
                  "better: seed 1 was trained with other settings until 500 images: 120 images instead of 100") !=
        others.end());
}

TEST_CASE("an incomplete run is named and left out") {
  const TemporaryFolder folder;
  make_runs(folder);
  folder.write("runs/better-s2/metrics.jsonl", line(500, 0.01, 0.5));
  const Comparison comparison = compare_runs(kRuns, "");
  CHECK(comparison.arms[1].successes() == 2);
  CHECK(comparison.arms[1].runs[2].problem == "not complete: 500 of 1000 images");
  const std::vector<MeasureSummary> summaries = summarise(comparison);
  CHECK(named(summaries, "loss.x0").of(1)->difference->count == 2);
  const std::string table = text_of(comparison, chosen_measures(summaries, {}));
  CHECK(table.find("2 of 3") != std::string::npos);
  CHECK(table.find("better, seed 2: not complete: 500 of 1000 images") != std::string::npos);
  CHECK(table.find("a third seed") != std::string::npos);
}

TEST_CASE("what cannot be compared is reported in one message") {
  const TemporaryFolder folder;
  make_runs(folder);
  make_run(folder, "copy", 1, "l1", 3);
  CHECK(message_of<ConfigError>([] {
          compare_runs({"runs/plain-s1", "runs/copy"}, "");
        }) ==
        "runs/plain-s1 and runs/copy are runs of one experiment with the seed 1, so they are one value; give one of "
        "them");
  CHECK(message_of<ConfigError>([] { compare_runs(kRuns, "bettr"); }) ==
        "--baseline \"bettr\": expected one of plain, better, or the folder of one of the runs");
  const std::vector<MeasureSummary> summaries = summarise(compare_runs(kRuns, ""));
  CHECK(message_of<ConfigError>([&] { chosen_measures(summaries, {"loss.x1"}); }).find("did you mean loss.x0") !=
        std::string::npos);
}

TEST_CASE("a table has the measures with a direction, or those that match a pattern") {
  const TemporaryFolder folder;
  make_runs(folder);
  const std::vector<MeasureSummary> all = summarise(compare_runs(kRuns, ""));
  const auto names = [](const std::vector<MeasureSummary>& measures) {
    std::string result;
    for (const MeasureSummary& measure : measures) result += measure.name + " ";
    return result;
  };
  CHECK(names(chosen_measures(all, {})) == "loss.x0 ");
  CHECK(names(chosen_measures(all, {"stat*", "loss.x0*"})) == "statistic.gate loss.x0 loss.x0.by_t.1 ");
}

TEST_CASE("lines of a log that cannot be read are left out with a warning, and a repeated one counts once") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, "l1", 0.25);
  const std::string resumed = "{\"resumed\":true,\"images\":600}\n", last = line(1000, 0.5, 0.5);
  folder.write("runs/a/metrics.jsonl", line(500, 0.5, 0.5) + resumed + last + last);
  const RunRecord whole = read_run_record("runs/a");
  CHECK(whole.warnings.empty());
  CHECK(whole.find("loss.x0")->measuring.settings.at("images") == "501-1000");
  folder.write("runs/a/metrics.jsonl",
               line(500, 0.5, 0.5) + "{\"images\":750,\"lo\n" + resumed + last + "{}\n" + "{\"ima");
  const RunRecord damaged = read_run_record("runs/a");
  REQUIRE(damaged.warnings.size() == 1);
  CHECK(damaged.warnings[0] == "runs/a/metrics.jsonl:2: this line and 1 more cannot be read and are left out");
  CHECK(damaged.find("loss.x0")->value == 0.5);
}

TEST_CASE("a loss that is missing from the last line of a log but not from others is named") {
  const TemporaryFolder folder;
  make_runs(folder);
  const std::string with_metric = R"({"images":250,"step":1,"seconds":1,"loss":{"metric.l1":{"mean":1}}})";
  folder.write("runs/plain-s1/metrics.jsonl", text(with_metric, '\n', line(1000, 0.5, 0.5)));
  const std::vector<std::string> said = all_remarks(compare_runs(kRuns, ""));
  CHECK(std::count(said.begin(), said.end(), "plain: seed 1: no step of the log's last line had loss.metric.l1") == 1);
  CHECK(std::none_of(said.begin(), said.end(),
                     [](const std::string& remark) { return remark.find("loss.metric.l2") != std::string::npos; }));
}

TEST_CASE("the four files say the same, and names cannot break their format") {
  const TemporaryFolder folder;
  make_runs(folder);
  Comparison comparison = compare_runs(kRuns, "");
  comparison.arms[0].name = "a_b|c,\"d\" & 5%\x1b[31m";
  comparison.arms[1].runs[0].problem = "failed: line 1\nline 2";
  const std::vector<MeasureSummary> all = summarise(comparison);
  write_results("out", comparison, all, chosen_measures(all, {}), "compare", Replaced::same_runs);
  write_results("out", comparison, all, chosen_measures(all, {}), "compare",
                Replaced::same_runs);  // its own files are replaced

  const std::string csv = read_file("out/results.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\r') == 7);
  CHECK(csv.find("\"a_b|c,\"\"d\"\" & 5%") != std::string::npos);
  CHECK(csv.find("\"failed: line 1\nline 2\"") != std::string::npos);

  const Value json = from_json(read_file("out/results.json"));
  const Value& x0 = json.find("measures")->as_array().front();
  CHECK(x0.find("name")->as_string() == "loss.x0");
  const Value& arm = x0.find("arms")->as_array()[1];
  CHECK(arm.find("seeds")->as_integer() == 2);
  CHECK(arm.find("difference")->find("mean")->as_number() == doctest::Approx(-0.25));
  CHECK(json.find("arms")->as_array()[1].find("runs")->as_array()[0].find("problem")->as_string() ==
        "failed: line 1\nline 2");

  const std::string markdown = read_file("out/results.md");
  CHECK(markdown.find("| a\\_b\\|c,\"d\" & 5%\\\\x1b\\[31m | 3 |") != std::string::npos);
  const std::string latex = read_file("out/results.tex");
  CHECK(latex.find("a\\_b|c,\"d\" \\& 5\\%\\textbackslash{}x1b[31m & 3 & $11$") != std::string::npos);
  CHECK(latex.find('\x1b') == std::string::npos);

  comparison.arms[0].name = "=HYPERLINK(\"x\")";
  comparison.arms[1].runs[0].problem = "-1+1";
  comparison.arms[1].runs[0].record.measures[0].value = -0.5;
  const std::string guarded = csv_of(comparison, all);
  CHECK(guarded.find("\r\n\"'=HYPERLINK(\"\"x\"\")\",") != std::string::npos);
  CHECK(guarded.find(",'-1+1,") != std::string::npos);
  CHECK(guarded.find(",-0.5,") != std::string::npos);

  folder.write("out/results.tex", read_file("out/results.tex") + "% my note\n");
  CHECK(message_of<ConfigError>([&] {
          write_results("out", comparison, all, all, "compare", Replaced::same_runs);
        }).find("results.tex was changed since this program wrote it and is not replaced") != std::string::npos);
  CHECK(read_file("out/results.tex").ends_with("% my note\n"));
  std::filesystem::remove("out/results.tex");
  CHECK_NOTHROW(write_results("out", comparison, all, all, "compare", Replaced::same_runs));
  folder.write("coco/results.json", "{\n  \"format\": \"coco\"\n}\n");
  CHECK(message_of<ConfigError>([&] {
          write_results("coco", comparison, all, all, "compare", Replaced::same_runs);
        }).find("was not written by this") != std::string::npos);

  folder.write("out/results.md", "# mine\n");
  CHECK(message_of<ConfigError>([&] {
          write_results("out", comparison, all, all, "compare", Replaced::same_runs);
        }).find("was not written by this") != std::string::npos);
  CHECK(read_file("out/results.md") == "# mine\n");
}
