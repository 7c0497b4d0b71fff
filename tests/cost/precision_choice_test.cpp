#include "framework/cost/precision_choice.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include "casdm/text.h"
#include "framework/device/device.h"
#include "framework/support/files.h"
#include "support/captured.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// A cache folder of its own.
struct Cache {
  Cache() { ::setenv("XDG_CACHE_HOME", folder.path().c_str(), 1); }
  ~Cache() { ::unsetenv("XDG_CACHE_HOME"); }
  TemporaryFolder folder;

  std::vector<fs::path> records() const {
    std::vector<fs::path> result;
    std::error_code none;
    for (fs::directory_iterator entry(folder.path() / "casdm" / "precision", none), end; !none && entry != end; ++entry)
      result.push_back(entry->path());
    return result;
  }

  /// Replaces the rates of the only record.
  void set(double fp32, double bf16) const {
    Value record = from_json(read_file(records().at(0)));
    record.set("fp32", fp32);
    record.set("bf16", bf16);
    write_file(records().at(0), to_json(record));
  }
};

LoadedExperiment experiment(const std::vector<std::string>& overrides) {
  const TemporaryFolder folder;
  return small_experiment(folder.path(), "run", single_head() + "[[metrics]]\ntype = \"l1\"\n", overrides);
}

std::string precision(const LoadedExperiment& chosen) {
  const std::string resolved = chosen.resolved.find("run")->find("precision")->as_string();
  CHECK(to_string(chosen.options.run.precision) == resolved);
  return resolved;
}

const std::vector<std::string> kAuto = {"run.precision=auto", "run.threads=1"};

}  // namespace

TEST_CASE("a precision that the experiment names stays as it is, and nothing is measured") {
  const Cache cache;
  for (const char* named : {"fp32", "bf16", "tf32"}) {
    CHECK(precision(with_chosen_precision(experiment({text("run.precision=", named)}))) == named);
  }
  CHECK(cache.records().empty());
}

TEST_CASE("the precision is measured once for the same networks, and the faster one is taken") {
  if (!has_bf16_products(c10::Device(c10::kCPU))) {
    const Cache cache;
    CHECK(precision(with_chosen_precision(experiment(kAuto))) == "fp32");
    CHECK(cache.records().empty());
    return;
  }
  const Cache cache;
  const LoadedExperiment asked = experiment(kAuto);
  CHECK_FALSE(known_rates(asked));
  const std::string first = stderr_of([&] { with_chosen_precision(asked); });
  CHECK(first.find("measuring fp32 and bf16") != std::string::npos);
  REQUIRE(cache.records().size() == 1);
  CHECK(known_rates(asked)->fp32 > 0);

  cache.set(10, 20);
  std::string chosen;
  const std::string second = stderr_of([&] { chosen = precision(with_chosen_precision(asked)); });
  CHECK(chosen == "bf16");
  CHECK(second.find("bf16 (10 images/s in fp32, 20 in bf16, measured earlier)") != std::string::npos);
  cache.set(20, 10);
  CHECK(precision(with_chosen_precision(asked)) == "fp32");
  cache.set(10, 10.1);  // within the noise
  CHECK(precision(with_chosen_precision(asked)) == "fp32");
}

TEST_CASE("rates are known for other weights and lengths, and not for other networks, metrics or batches") {
  if (!has_bf16_products(c10::Device(c10::kCPU))) return;
  const Cache cache;
  measured_rates(experiment(kAuto));
  const auto is_known = [](const std::string& override) {
    std::vector<std::string> overrides = kAuto;
    overrides.push_back(override);
    return known_rates(experiment(overrides)).has_value();
  };
  CHECK(is_known("optimizer.learning_rate=1e-4"));
  CHECK(is_known("train.total_images=64"));
  CHECK(is_known("metrics[0].weight=0.3"));
  CHECK_FALSE(is_known("metrics[0].weight=0"));
  CHECK_FALSE(is_known("metrics[0].share=0.5"));
  CHECK_FALSE(is_known("head.theta.channels=16"));
  CHECK_FALSE(is_known("head.theta.channel_mult=[1.0, 4.0]"));
  CHECK_FALSE(is_known("head.theta.dropout=0.1"));
  CHECK_FALSE(is_known("noise.num_train_timesteps=100"));
  CHECK_FALSE(is_known("train.batch_size=8"));
  CHECK_FALSE(is_known("data.image_size=32"));
}

TEST_CASE("bf16 that is known to be slower is reported, and kept") {
  if (!has_bf16_products(c10::Device(c10::kCPU))) return;
  const Cache cache;
  measured_rates(experiment(kAuto));
  const LoadedExperiment asked = experiment({"run.precision=bf16", "run.threads=1"});
  cache.set(20, 10);
  std::string chosen;
  const std::string said = stderr_of([&] { chosen = precision(with_chosen_precision(asked)); });
  CHECK(chosen == "bf16");
  CHECK(said == "run.precision = \"bf16\" is slower than fp32 here: 20 images/s in fp32, 10 in bf16\n");
  cache.set(10, 20);
  CHECK(stderr_of([&] { with_chosen_precision(asked); }).empty());
}

TEST_CASE("a damaged record counts as none") {
  if (!has_bf16_products(c10::Device(c10::kCPU))) return;
  const Cache cache;
  const LoadedExperiment asked = experiment(kAuto);
  measured_rates(asked);
  write_file(cache.records().at(0), "{\"fp32\": 3");
  CHECK_FALSE(known_rates(asked));
}
