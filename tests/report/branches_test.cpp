#include <doctest/doctest.h>

#include "casdm/text.h"
#include "config/support.h"
#include "framework/report/html.h"
#include "framework/report/report.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// A run that has seen 8000 images.
void make_run(const TemporaryFolder& folder, const std::string& resumed = "") {
  folder.write("run/config.toml", "[run]\nname = \"a\"\n[train]\ntotal_images = 8000\n");
  folder.write("run/metrics.jsonl", resumed + "{\"images\":8000,\"loss\":{\"eps\":{\"mean\":0.5}}}\n");
}

bool has(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a report leaves out the nearest images of weights that the checkpoint no longer has") {
  const TemporaryFolder folder;
  make_run(folder);
  const std::string picture = base64("\x89PNG\r\n\x1a\n and so on");
  const auto record = [&](const char* sum, int seed) {
    return text(
        R"({"what":"nearest","checkpoint_images":8000,"weights":"ema","weights_file":"ema.safetensors",)",
        R"("weights_sha256":")", sum, R"(","steps":50,"guidance":{"scale":1.5},"seed":)", seed,
        R"(,"judge":"pixels","feature":"flat","reference":"d","reference_num":50,"images":[{"index":0,"image":")",
        picture, R"(","nearest":[]}]})");
  };
  const auto checkpoint = [&](const char* sum) {
    folder.write("run/checkpoints/000000008000/state.json",
                 text(R"({"files":{"ema.safetensors":{"bytes":1,"sha256":")", sum, R"("}}})"));
  };
  folder.write("run/evaluation/nearest-1.json", record("aa", 7));
  folder.write("run/evaluation/nearest-2.json", record("bb", 8));
  CHECK(has(report_of("run"), "guidance 1.5, seed 7"));  // without the checkpoint nothing can be said
  checkpoint("aa");
  const std::string page = report_of("run");
  CHECK(has(page, "Samples from the weights ema in 50 steps, guidance 1.5, seed 7. Beside each sample"));
  CHECK_FALSE(has(page, "seed 8"));
  CHECK(has(page, "Not shown: those of weights that the checkpoint no longer has."));
  checkpoint("cc");
  CHECK_FALSE(has(report_of("run"), "data:image/png"));
}

TEST_CASE("a report has a table of what changed at resumes") {
  const TemporaryFolder folder;
  make_run(folder);
  CHECK_FALSE(has(report_of("run"), "What changed when runs were resumed"));
  make_run(folder, R"({"resumed":true,"images":100,"changed":{"optimizer.learning_rate":{"from":0.05,"to":0.002},)"
                   R"("metrics":{"from":null,"to":[{"type":"metric_pixel/l1"}]}},"other_data":"<b> other images"})"
                   "\n"
                   R"({"resumed":true,"images":200,"changed":{}})"
                   "\n"
                   R"({"resumed":true,"images":)"
                   "\n");
  const std::string page = report_of("run");
  REQUIRE(has(page, "What changed when runs were resumed"));
  CHECK(has(page, "<code>optimizer.learning_rate</code>"));
  CHECK(has(page, "<code>0.05</code>"));
  CHECK(has(page, "<code>0.002</code>"));
  CHECK(has(page, "not set"));
  CHECK(has(page, "&lt;b&gt; other images"));
  CHECK_FALSE(has(page, ">200<"));
}
