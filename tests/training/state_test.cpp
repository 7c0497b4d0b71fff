#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/support/files.h"
#include "framework/training/experiment_change.h"
#include "framework/training/training_state.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::vector<std::string> keys(const std::vector<ExperimentChange>& changes) {
  std::vector<std::string> result;
  for (const ExperimentChange& change : changes) result.push_back(change.key);
  return result;
}

/// The lines with means, without values that a clock determines.
std::vector<std::string> means(const std::filesystem::path& run) {
  std::vector<std::string> result;
  for (const Value& record : records(run)) {
    if (record.find("loss") == nullptr) continue;
    Value kept{Value::Table{}};
    for (const auto& [key, value] : record.as_table()) {
      if (key != "seconds" && key != "images_per_second") kept.set(key, value);
    }
    result.push_back(to_json(kept));
  }
  return result;
}

}  // namespace

TEST_CASE("with one norm over all modules, an fp16 overflow in one keeps all from stepping") {
  const TemporaryFolder folder;
  for (const std::string grouping : {"joint", "module"}) {
    const std::vector<std::string> overrides = {"run.precision=fp16", "optimizer.grouping=" + grouping};
    const LoadedExperiment experiment = small_experiment(folder.path(), "run", cascade_head(), overrides);
    const Model model = make_model(experiment, 0);
    TrainingState state(experiment, model, *make_dataset(experiment), c10::Device(c10::kCPU), true);
    StepRecord record;
    record.modules = {"theta", "phi"};
    record.grad_norms = at::tensor({1.0, NAN}, at::kFloat);
    state.scaler.observe(record);
    CHECK(state.scaler.has_overflowed("phi"));
    CHECK(state.scaler.has_overflowed("theta") == (grouping == "joint"));
  }
}

TEST_CASE("a log line's rate is that since the previous line, without the time that a grid took") {
  const TemporaryFolder folder;
  run(small_experiment(folder.path(), "run", cascade_head(),
                       {"log.every_images=8", "log.sample_every_images=16", "log.sample_count=4"}));
  double images = 0, seconds = 0;
  int lines = 0;
  for (const Value& record : records(folder.path() / "run")) {
    if (record.find("images_per_second") == nullptr) continue;
    const double images_now = record.find("images")->as_number(), seconds_now = record.find("seconds")->as_number();
    const double rate = record.find("images_per_second")->as_number();
    const double with_grid = (images_now - images) / (seconds_now - seconds);
    CAPTURE(images_now);
    // The first line counts from the process's first step, which is not recorded.
    if (lines++ > 0 && images == 16) CHECK(rate > 1.001 * with_grid);
    if (lines > 1 && images != 16) CHECK(rate == doctest::Approx(with_grid).epsilon(1e-9));
    images = images_now;
    seconds = seconds_now;
  }
  CHECK(lines >= 3);
}

TEST_CASE("a resumed run has the same log lines as the uninterrupted one") {
  const TemporaryFolder folder;
  // A line every 12 images and a checkpoint every 8, so the sums are unfinished when the run is stopped.
  const std::vector<std::string> all = {"log.every_images=12", "checkpoint.every_images=8"};
  std::vector<std::string> part = all;
  part.emplace_back("train.total_images=20");
  run(small_experiment(folder.path(), "whole", cascade_head(), all));
  const LoadedExperiment first = small_experiment(folder.path(), "parts", cascade_head(), part);
  run(first);
  const Checkpoint middle = Checkpoint::open(folder.path() / "parts" / "checkpoints" / "000000000016");
  std::filesystem::resize_file(folder.path() / "parts" / "metrics.jsonl", 0);
  resume(small_experiment(folder.path(), "parts", cascade_head(), all), middle);
  std::vector<std::string> expected = means(folder.path() / "whole");
  REQUIRE(expected.size() == 3);
  expected.erase(expected.begin());
  CHECK(means(folder.path() / "parts") == expected);
}

TEST_CASE("numbers in a checkpoint that only training reads are refused with the other checkpoints of the run") {
  const TemporaryFolder folder;
  const Checkpoint last = run(small_experiment(folder.path(), "run", single_head()));
  const std::string state = read_file(last.path() / "state.json");
  for (const auto& [key, value] : std::vector<std::pair<std::string, Value>>{{"seconds", -1.0},
                                                                             {"step", std::int64_t{99}},
                                                                             {"last_batch", std::int64_t{-4}},
                                                                             {"statistics", Value(Value::Table{})},
                                                                             {"data", Value(Value::Table{})}}) {
    CAPTURE(key);
    Value record = from_json(state);
    record.find("numbers")->set(key, value);
    const std::string damaged = to_json(record, 1) + "\n";
    write_file(last.path() / "state.json", damaged);
    write_file(last.path() / "state.json.sha256", sha256(damaged) + "  state.json\n");
    const LoadedExperiment longer = small_experiment(folder.path(), "run", single_head(), {"train.total_images=40"});
    CHECK_THROWS_WITH_AS(resume(longer, Checkpoint::open(folder.path() / "run")),
                         doctest::Contains("checkpoints/000000000016"), Error);
  }
}

TEST_CASE("a resume on other data is refused, or reported if they are allowed") {
  const TemporaryFolder folder;
  const Checkpoint half = run(small_experiment(folder.path(), "run", single_head(), {"train.total_images=12"}));
  const LoadedExperiment other = small_experiment(folder.path(), "run", single_head(), {"data.num_images=7"});
  CHECK_THROWS_WITH_AS(resume(other, half), doctest::Contains("--allow-other-data"), Error);
  RunFolder run_folder = RunFolder::open(folder.path() / "run");
  CHECK(train(other, run_folder, half, /*allow_other_data=*/true).images == 32);
}

TEST_CASE("changes name each key that differs, at any depth, except what the host writes") {
  const auto value = [](const char* json) { return from_json(json); };
  CHECK(changes(value("{}"), value("{}")).empty());
  const std::vector<ExperimentChange> found =
      changes(value(R"({"a": 1, "b": {"c": [1, 2], "d": "x"}, "m": [{"w": 0.1}], "n": [1], "plugins": {"used": []}})"),
              value(R"({"a": 1.0, "b": {"c": [1, 3], "e": true}, "m": [{"w": 0.5}], "n": [],
                        "plugins": {"used": [{"id": "p"}]}})"));
  CHECK(keys(found) == std::vector<std::string>{"b.c[1]", "b.d", "b.e", "m[0].w", "n"});
  CHECK(to_string(found[0]) == "b.c[1]: 2 -> 3");
  CHECK(to_string(found[1]) == "b.d: \"x\" -> not set");
  CHECK(to_string(found[3]) == "m[0].w: 0.1 -> 0.5");
  CHECK(to_json(*to_value(found).find("m[0].w")) == R"({"from":0.1,"to":0.5})");
}

TEST_CASE("a component of another type is one change, in a few words") {
  const auto value = [](const char* json) { return from_json(json); };
  const std::vector<ExperimentChange> all = changes(
      value(R"({"head": {"type": "p/single", "theta": {"type": "p/unet", "channels": 8}, "loss": "mse"},
                "m": [], "o": {"rate": 1, "type": "p/adam"}, "s": [{"type": "p/a", "x": 1}]})"),
      value(R"({"head": {"type": "p/cascade", "theta": {"type": "p/unet", "channels": 16}, "phi": {"type": "p/unet"}},
                "m": [{"type": "p/l1", "weight": 0.5}], "o": {"rate": 2, "type": "p/adam"},
                "s": [{"type": "p/a", "x": 1}, {"type": "q/b"}]})"));
  std::vector<std::string> lines;
  for (const ExperimentChange& change : by_component(all)) lines.push_back(to_string(change));
  CHECK(lines ==
        std::vector<std::string>{"head: single -> cascade", "m: [] -> [l1]", "o.rate: 1 -> 2", "s: [a] -> [a, b]"});
  CHECK(to_string({"head", value(R"({"type": "p/x"})"), value(R"({"type": "q/x"})")}) ==
        "head: { type = \"p/x\" } -> { type = \"q/x\" }");
  CHECK(in_few_words(value(R"({"a": 1, "b": 2})")) == "{ a, b }");
}
