#include "framework/comparison/provenance.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/text.h"
#include "config/support.h"
#include "framework/comparison/comparison.h"
#include "framework/comparison/tables.h"
#include "framework/report/report.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

using Lines = std::vector<std::string>;

constexpr const char* kData = R"({"count":100,"classes":0,"shape":[3,8,8],"hash":"aa","content":["1","2"]})";

/// What a complete run of 1000 images says about itself.
struct Run {
  std::string config = {};             ///< besides name, seed and length
  std::string resume = {};             ///< lines of the log
  std::string data = kData;            ///< in the state of its newest checkpoint
  std::string networks = "{}";         ///< likewise
  std::string start = {};              ///< init.json
  std::vector<std::string> used = {};  ///< plugins as "ID BUILD"
};

void make_run(const TemporaryFolder& folder, const std::string& name, int seed, const Run& run) {
  std::string used;
  for (const std::string& plugin : run.used) {
    const std::size_t space = plugin.find(' ');
    used += text("[[plugins.used]]\nid = \"", plugin.substr(0, space), "\"\nversion = \"0.1.0\"\nbuild_id = \"",
                 plugin.substr(space + 1), "\"\n");
  }
  const std::string home = text("runs/", name, "-s", seed, "/");
  folder.write(home + "config.toml", text("[run]\nname = \"", name, "\"\nseed = ", seed,
                                          "\n[train]\ntotal_images = 1000\n", run.config, used));
  folder.write(home + "metrics.jsonl", text(run.resume, R"({"images":1000,"loss":{"x0":{"mean":1}}})", "\n"));
  folder.write(home + "checkpoints/000000000500/state.json", "{}");
  folder.write(home + "checkpoints/000000001000/state.json",
               text(R"({"numbers":{"networks":)", run.networks, R"(,"data":)", run.data, "}}"));
  if (!run.start.empty()) folder.write(home + "init.json", run.start);
}

/// The lines below the table that are about how the runs were made.
Lines said(const Lines& runs, const std::string& baseline = "") {
  const Comparison comparison = compare_runs({runs.begin(), runs.end()}, baseline);
  Lines lines = remarks(comparison, summarise(comparison));
  std::erase_if(lines, [](const std::string& line) { return line.find("interval") != std::string::npos; });
  return lines;
}

/// What is said of a run whose line of a resume at 500 images has `changed`.
Lines resumed(const TemporaryFolder& folder, const std::string& config, const std::string& changed) {
  make_run(folder, "a", 0, {config, text(R"({"resumed":true,"images":500,"changed":{)", changed, "}}\n")});
  return said({"runs/a-s0"});
}

const std::string kBefore = "seed 0 was trained with other settings until 500 images: ";

}  // namespace

TEST_CASE("a length that a resume changed counts if the learning rate had been another one") {
  const TemporaryFolder folder;
  const std::string longer = R"("train.total_images":{"from":500,"to":1000})";
  const auto lines = [&](const std::string& optimizer, const std::string& changed) {
    return resumed(folder, "[optimizer]\n" + optimizer, changed);
  };
  const Lines is_said{kBefore + "train.total_images: 500 -> 1000"};
  CHECK(lines("schedule = \"cosine\"\n", longer) == is_said);
  CHECK(lines("schedule = \"linear\"\n", longer) == is_said);
  CHECK(lines("schedule = \"constant\"\n", longer).empty());
  CHECK(lines("schedule = \"inverse_sqrt\"\nreference_images = 100\n", longer).empty());
  CHECK(lines("schedule = \"cosine\"\nwarmup_images = 500\n", longer).empty());  // they part after the warm-up
  CHECK(lines("[optimizer.phi]\nschedule = \"linear\"\n", longer) == is_said);
  // The rate was constant until 500 images, and would have been with 1000.
  const std::string from_600 = R"("train.total_images":{"from":600,"to":1000})";
  CHECK(lines("schedule = \"wsd\"\ndecay_images = 100\n", from_600).empty());
  CHECK(lines("schedule = \"wsd\"\ndecay_images = 150\n", from_600) ==
        Lines{kBefore + "train.total_images: 600 -> 1000"});
}

TEST_CASE("a key that a resume set first counts, unless a later version has brought it with its default") {
  const TemporaryFolder folder;
  const std::string config = "[[metrics]]\ntype = \"l1\"\n";
  const auto lines = [&](const std::string& key, const std::string& now) {
    return resumed(folder, config, text('"', key, R"(":{"from":null,"to":)", now, '}'));
  };
  CHECK(lines("metrics[0].every", "1").empty());
  CHECK(lines("metrics[0].t_range", "[0,1]").empty());
  CHECK(lines("optimizer.clip_norm", "1").empty());
  CHECK(lines("ema.also", "[]").empty());
  CHECK(lines("metrics[0].every", "2") == Lines{kBefore + "metrics[0].every: not set -> 2"});
  CHECK(lines("metrics[0].noise_range", "[0,5]") == Lines{kBefore + "metrics[0].noise_range: not set -> [0, 5]"});
  CHECK(lines("optimizer.phi", R"({"learning_rate":0.05})") ==
        Lines{kBefore + "optimizer.phi: not set -> { learning_rate }"});
  CHECK(lines("optimizer.phi.clip_norm", "1") == Lines{kBefore + "optimizer.phi.clip_norm: not set -> 1"});
  CHECK(lines("metrics[0].of_its_own", "1") == Lines{kBefore + "metrics[0].of_its_own: not set -> 1"});
}

TEST_CASE("what replaced data, networks and plugins at a resume is reported, but nothing before the first image") {
  const TemporaryFolder folder;
  const auto lines = [&](int images, const std::string& builds) {
    make_run(folder, "a", 0,
             {"", text(R"({"resumed":true,"images":)", images, R"(,"changed":{"train.batch_size":)",
                       R"({"from":1,"to":2}},"other_data":"others","other_plugins":)", builds, "}\n")});
    return said({"runs/a-s0"});
  };
  CHECK(lines(500, R"(["plugin gap: 1 build a -> 1 build b"])") ==
        Lines{kBefore + "train.batch_size: 1 -> 2; others; plugin gap: 1 build a -> 1 build b"});
  CHECK(lines(500, R"(["p","q","r","s"])") == Lines{kBefore + "train.batch_size: 1 -> 2; others; p; q; r; and 1 more"});
  CHECK(lines(0, R"(["p"])").empty());
  CHECK(read_run_record("runs/a-s0").provenance.resumes.size() == 1);
}

TEST_CASE("of several resumes at one checkpoint the last holds") {
  const TemporaryFolder folder;
  const auto line = [](int images, const std::string& changed) {
    return text(R"({"resumed":true,"images":)", images, R"(,"changed":{)", changed, "}}\n");
  };
  const std::string two = R"("train.batch_size":{"from":1,"to":2})", four = R"("train.batch_size":{"from":1,"to":4})";
  make_run(folder, "a", 0, {"", line(500, two) + line(500, four) + line(700, "")});
  CHECK(said({"runs/a-s0"}) == Lines{kBefore + "train.batch_size: 1 -> 4"});
  make_run(folder, "a", 0, {"", line(500, two) + line(500, "")});
  CHECK(said({"runs/a-s0"}).empty());
}

TEST_CASE("runs of an arm are said to be unlike if data, weights or builds differ") {
  const TemporaryFolder folder;
  Run other;
  std::string line;
  SUBCASE("data") {
    other.data = R"({"count":80,"classes":0,"shape":[3,8,8],"hash":"bb","content":["1","2"]})";
    line = "trained with other data than seed 0: 80 images instead of 100";
  }
  SUBCASE("images under the same names") {
    other.data = R"({"count":100,"classes":0,"shape":[3,8,8],"hash":"aa","content":["1","9"]})";
    line = "trained with other data than seed 0: 1 of the 2 images that were looked at are others";
  }
  SUBCASE("the weights that a module started from, of other images") {
    other.start = R"({"theta":{"from":"runs/src","file":"f","sha256":"bbbb","images":96}})";
    line = "started from other weights than seed 0: theta of 96 images instead of 32";
  }
  SUBCASE("the weights that a module started from, of a file") {
    other.start = R"({"theta":{"from":"runs/src","file":"f","sha256":"0123456789abcdef"}})";
    line = "started from other weights than seed 0: theta (SHA-256 0123456789ab instead of aaaa)";
  }
  SUBCASE("the weights of a metric") {
    other.networks = R"({"metric.lpips":[0.5,0.9],"head.alignment":"cc"})";
    line = "trained with other weights of fixed networks than seed 0: metric.lpips";
  }
  SUBCASE("the build of a plugin") {
    other.used = {"metric_pixel 11", "gap 3333"};
    line = "trained with other builds of plugins than seed 0: gap (3333 instead of 2222)";
  }
  Run first{"",
            "",
            kData,
            R"({"metric.lpips":[0.5,0.25],"head.alignment":"cc"})",
            R"({"theta":{"from":"runs/src","file":"f","sha256":"aaaa","images":32}})",
            {"metric_pixel 11", "gap 2222"}};
  Run second = first;
  if (other.data != kData) second.data = other.data;
  if (!other.start.empty()) second.start = other.start;
  if (other.networks != "{}") second.networks = other.networks;
  if (!other.used.empty()) second.used = other.used;
  for (const int seed : {0, 1}) make_run(folder, "a", seed, first);
  CHECK(said({"runs/a-s0", "runs/a-s1"}).empty());
  for (const int seed : {1, 3}) make_run(folder, "a", seed, second);
  make_run(folder, "a", 2, first);
  const Lines runs{"runs/a-s0", "runs/a-s1", "runs/a-s2", "runs/a-s3"};
  CHECK(said(runs) == Lines{"a: seeds 1, 3: " + line});
  // A run that does not take part does not count, nor what a folder no longer says.
  folder.write("runs/a-s1/metrics.jsonl", "");
  CHECK(said(runs).back() == "a: seed 3: " + line);
  make_run(folder, "a", 3, {"", "", "null", "null", "{}", {"other 1"}});
  CHECK(join(said(runs), "\n") == "a, seed 1: not complete: 0 of 1000 images");
}

TEST_CASE("after a rebuild of all plugins there is one line, however many arms there are") {
  const TemporaryFolder folder;
  const auto builds = [](char build) {
    Lines used;
    for (const char* plugin : {"p", "q", "r", "s", "t", "u", "v"}) used.push_back(text(plugin, ' ', build));
    return used;
  };
  Lines runs;
  for (const char* arm : {"a", "b"}) {
    for (const int seed : {0, 1}) {
      const std::string config = text("[optimizer]\nlearning_rate = ", *arm == 'a' ? "0.1" : "0.2", "\n");
      make_run(folder, arm, seed, {config, "", kData, "{}", "", builds(seed == 0 ? '1' : '2')});
      runs.push_back(text("runs/", arm, "-s", seed));
    }
  }
  CHECK(said(runs) == Lines{"a, b: seed 1: trained with other builds of plugins than seed 0: p (2 instead of 1), q (2 "
                            "instead of 1), r (2 instead of 1), s (2 instead of 1), t (2 instead of 1), and 2 more"});
}

TEST_CASE("an arm that was made of something else than its baseline is named, except where the experiments say so") {
  const TemporaryFolder folder;
  const std::string data = R"({"count":80,"classes":0,"shape":[3,8,8],"hash":"bb","content":["1","2"]})";
  const Run plain{"[data]\npath = \"d\"\n", "", kData, "{}", "", {"gap 1"}};
  for (const int seed : {0, 1}) {
    make_run(folder, "plain", seed, plain);
    make_run(folder, "better", seed,
             {plain.config + "[optimizer]\nlearning_rate = 0.5\n", "", data, "{}", "", {"gap 2"}});
    make_run(folder, "moved", seed, {"[data]\npath = \"e\"\n", "", data, "{}", "", {"gap 1"}});
  }
  Lines runs;
  for (const char* arm : {"plain", "better", "moved"}) {
    for (const int seed : {0, 1}) runs.push_back(text("runs/", arm, "-s", seed));
  }
  CHECK(said(runs, "plain") == Lines{"better: trained with other data than plain: 80 images instead of 100",
                                     "better: trained with other builds of plugins than plain: gap (2 instead of 1)",
                                     "measured differently, so not compared with each other: loss.x0 data.path=d "
                                     "(plain, better); loss.x0 data.path=e (moved)"});
}

TEST_CASE("arms that differ in other keys of a table are compared in the data, weights and networks that they share") {
  const TemporaryFolder folder;
  const std::string fewer = R"({"count":80,"classes":0,"shape":[3,8,8],"hash":"bb","content":["1","2"]})";
  const auto experiment = [](const char* flip, double weight, const char* net, bool freezes) {
    return text("[data]\npath = \"d\"\nrandom_flip = ", flip, "\n[[metrics]]\ntype = \"lpips\"\nnet = \"", net,
                "\"\nweight = ", number(weight),
                "\n[[init]]\nmodule = \"theta\"\nfrom = \"src\"\nfreeze = ", freezes ? "true" : "false", "\n");
  };
  const std::string networks = R"({"metric.lpips":[0.5,0.25]})", others = R"({"metric.lpips":[0.5,0.9]})";
  const std::string start = R"({"theta":{"sha256":"aaaa","images":32}})",
                    later = R"({"theta":{"sha256":"b","images":96}})";
  make_run(folder, "plain", 0, {experiment("false", 0.1, "vgg16", false), "", kData, networks, start});
  make_run(folder, "flip", 0, {experiment("true", 0.1, "vgg16", false), "", fewer, networks, start});
  make_run(folder, "heavy", 0, {experiment("false", 0.2, "vgg16", false), "", kData, others, start});
  make_run(folder, "other", 0, {experiment("false", 0.1, "alexnet", false), "", kData, others, start});
  make_run(folder, "frozen", 0, {experiment("false", 0.1, "vgg16", true), "", kData, networks, later});
  CHECK(said({"runs/plain-s0", "runs/flip-s0", "runs/heavy-s0", "runs/other-s0", "runs/frozen-s0"}, "plain") ==
        Lines{"flip: trained with other data than plain: 80 images instead of 100",
              "heavy: trained with other weights of fixed networks than plain: metric.lpips",
              "frozen: started from other weights than plain: theta of 96 images instead of 32"});
}

TEST_CASE("tables, JSON and the report of a sweep say that its runs are unlike") {
  const TemporaryFolder folder;
  make_run(folder, "a", 0, {});
  make_run(folder, "a", 1, {.data = R"({"count":80,"classes":0,"shape":[3,8,8],"hash":"bb","content":[]})"});
  folder.write("runs/sweep.json", R"({"format":1,"name":"s","file":"/s.toml","arms":[{"name":"a","baseline":0}],)"
                                  R"("cells":[{"name":"a-s0","arm":0,"seed":0},{"name":"a-s1","arm":0,"seed":1}]})");
  const std::string line = "a: seed 1: trained with other data than seed 0: 80 images instead of 100";
  const Comparison comparison = compare_runs({"runs/a-s0", "runs/a-s1"}, "");
  const std::vector<MeasureSummary> all = summarise(comparison);
  for (const std::string& content : {text_of(comparison, all), json_of(comparison, all), markdown_of(comparison, all),
                                     latex_of(comparison, all), report_of("runs")}) {
    CHECK_MESSAGE(content.find(line) != std::string::npos, content);
  }
}

TEST_CASE("a damaged record of what a run was made of is left out") {
  const TemporaryFolder folder;
  for (const char* data : {"7", "{\"count\":-1}", "[]", R"({"count":1,"classes":0,"shape":["a",1,1],"hash":"x"})"}) {
    make_run(folder, "a", 0, {.data = data, .start = "["});
    CHECK_FALSE(read_run_record("runs/a-s0").provenance.data);
  }
  folder.write("runs/a-s0/checkpoints/000000001000/state.json", "{");
  CHECK_NOTHROW(read_run_record("runs/a-s0"));
}
