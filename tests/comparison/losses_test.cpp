#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/text.h"
#include "comparison/compared_runs.h"
#include "framework/comparison/tables.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Tables of an experiment.
struct Setup {
  std::string metric = "type = \"a/ssim\"";
  std::string data = "type = \"a/images\"\nimage_size = 16";
  std::string noise = "type = \"a/linear\"\nnum_train_timesteps = 100";
  std::string timesteps;
  std::string head = "type = \"a/pair\"\n[head.weights]\nx0 = 1.0";
  std::string others;
};

const std::vector<std::filesystem::path> kPairedRuns = {"runs/p-s0", "runs/p-s1", "runs/q-s0", "runs/q-s1"};

/// Two arms of two seeds; all numbers of q are surely lower.
Comparison compared(const TemporaryFolder& folder, const Setup& p, const Setup& q) {
  for (const int seed : {0, 1}) {
    for (const char* arm : {"p", "q"}) {
      const Setup& setup = arm[0] == 'p' ? p : q;
      const std::string run = text("runs/", arm, "-s", seed);
      folder.write(run + "/config.toml",
                   text("[run]\nseed = ", seed, "\n[train]\ntotal_images = 1000\n[data]\n", setup.data, "\n[noise]\n",
                        setup.noise, setup.timesteps.empty() ? "" : "\n[timesteps]\n", setup.timesteps, "\n[head]\n",
                        setup.head, "\n", setup.others, "\n[[metrics]]\n", setup.metric, "\n"));
      const std::string value = number(seed + (arm[0] == 'p' ? 2 : 1));
      folder.write(run + "/metrics.jsonl",
                   text(R"({"images":1000,"step":1,"loss":{"x0":{"mean":)", value, R"(,"grad_norm":{"phi":)", value,
                        R"(}},"metric.ssim":{"mean":)", value, R"(,"by_t":[)", value,
                        R"(]}},"statistic":{"gate":{"mean":)", value, R"(}},"grad_norm":{"phi":)", value, "}}\n"));
    }
  }
  return compare_runs(kPairedRuns, "p");
}

/// The sentences about q beside p.
std::string found_in(const Comparison& comparison) {
  return join(findings(comparison, chosen_measures(summarise(comparison), {"loss.*"})), "\n");
}

std::string starred_in(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const MeasureSummary& measure : summarise(comparison)) {
    const bool has = std::any_of(measure.arms.begin(), measure.arms.end(), [](const auto& arm) { return arm.is_best; });
    if (has) names.push_back(measure.name);
  }
  return join(names, ", ");
}

std::string measured_differently(const Comparison& comparison) {
  std::vector<std::string> lines = all_remarks(comparison);
  std::erase_if(lines, [](const std::string& line) { return !line.starts_with("measured differently"); });
  return join(lines, "\n");
}

constexpr const char* kApart = "measured differently, so not compared with each other: ";

}  // namespace

TEST_CASE("losses of a metric that were measured differently are not compared, and a line says why") {
  const TemporaryFolder folder;
  Setup q;
  std::string p_way, q_way;
  SUBCASE("size") { q.metric += "\nresize = 8", p_way = " metric.resize=0", q_way = " metric.resize=8"; }
  SUBCASE("share of the images") {
    q.metric += "\nshare = 0.2", p_way = " metric.share=1", q_way = " metric.share=0.2";
  }
  SUBCASE("timesteps") {
    q.metric += "\nt_range = [0, 0.2]", p_way = " metric.t_range[1]=1", q_way = " metric.t_range[1]=0.2";
  }
  SUBCASE("an option of its own") { q.metric += "\nkernel_size = 7", q_way = " metric.kernel_size=7"; }
  SUBCASE("another metric of that name") {
    q.metric = "type = \"a/l1\"\nname = \"ssim\"", p_way = " metric=a/ssim", q_way = " metric=a/l1";
  }
  const Comparison comparison = compared(folder, {}, q);
  CHECK(starred_in(comparison) == "loss.x0");
  CHECK(found_in(comparison).find("metric") == std::string::npos);
  const std::string line = measured_differently(comparison);
  INFO(line);
  CHECK(line.starts_with(text(kApart, "loss.metric.ssim, loss.metric.ssim.by_t.1: ")));
  CHECK(line.find(text(q_way.substr(1), " (q)")) != std::string::npos);
  CHECK(line.find(p_way.empty() ? "(p)" : text(p_way.substr(1), " (p)")) != std::string::npos);
}

TEST_CASE("losses over other timesteps, noise or images, or of another head, are not compared, and a line says why") {
  const TemporaryFolder folder;
  Setup q;
  std::string ways;
  SUBCASE("timesteps") { q.timesteps = "type = \"a/logit_normal\"", ways = "(p); timesteps=a/logit_normal (q)"; }
  SUBCASE("path") {
    q.noise = "type = \"a/cosine\"\nnum_train_timesteps = 100", ways = "noise=a/cosine (q); noise=a/linear (p)";
  }
  SUBCASE("length of the path") {
    q.noise = "type = \"a/linear\"\nnum_train_timesteps = 200";
    ways = "noise.num_train_timesteps=100 (p); noise.num_train_timesteps=200 (q)";
  }
  SUBCASE("images") {
    q.data = "type = \"a/images\"\nimage_size = 32", ways = "data.image_size=16 (p); data.image_size=32 (q)";
  }
  SUBCASE("head") { q.head = "type = \"a/alone\"", ways = "head=a/alone (q); head=a/pair (p)"; }
  const Comparison comparison = compared(folder, {}, q);
  CHECK(starred_in(comparison) == "");
  CHECK(found_in(comparison) == "");
  CHECK(measured_differently(comparison) == text(kApart,
                                                 "loss.metric.ssim, loss.metric.ssim.by_t.1, loss.x0, "
                                                 "loss.x0.grad_norm.phi and 1 more: ",
                                                 ways));
}

TEST_CASE("losses are compared whatever changes only the training") {
  const TemporaryFolder folder;
  Setup q;
  SUBCASE("how strongly a metric trains") {
    q.metric +=
        "\nweight = 0.5\nwarmup_images = 100\nmean = \"active\"\nnormalise = \"self\"\nbalance = "
        "\"squared_error\"";
  }
  SUBCASE("a default that an earlier version did not have") { q.metric += "\nshare = 1.0\nt_range = [0.0, 1.0]"; }
  SUBCASE("weights of the head") { q.head = "type = \"a/pair\"\n[head.weights]\nx0 = 2.0"; }
  SUBCASE("network") { q.others = "[head.phi]\ntype = \"a/unet\"\nchannels = 64"; }
  SUBCASE("learning rate") { q.others = "[optimizer]\nlearning_rate = 0.5"; }
  SUBCASE("augmentation") { q.others = "[augmentation]\ntype = \"a/shift\""; }
  SUBCASE("labels, and how images are mirrored and read") {
    q.data += "\nuse_labels = true\nrandom_flip = true\nworkers = 7";
  }
  const Comparison comparison = compared(folder, {}, q);
  CHECK(starred_in(comparison) == "loss.x0, loss.metric.ssim, loss.metric.ssim.by_t.1");
  CHECK(measured_differently(comparison) == "");
}

TEST_CASE("a lower gradient norm of a term is neither better nor worse") {
  const TemporaryFolder folder;
  Setup q;
  q.others = "[optimizer]\nlearning_rate = 0.5";
  const Comparison comparison = compared(folder, {}, q);
  CHECK(read_run_record("runs/p-s0").find("loss.x0.grad_norm.phi")->better == Better::unknown);
  CHECK(starred_in(comparison).find("grad_norm") == std::string::npos);
  CHECK(found_in(comparison).find("grad_norm") == std::string::npos);
  for (const MeasureSummary& measure : chosen_measures(summarise(comparison), {})) {
    CHECK_MESSAGE(measure.name.find("grad_norm") == std::string::npos, measure.name);
  }
}
