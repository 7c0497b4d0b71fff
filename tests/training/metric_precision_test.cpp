#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <doctest/doctest.h>

#include "cuda/components.h"
#include "framework/training/metric_terms.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// One metric over images of 32 px.
class Metric {
 public:
  explicit Metric(const std::string& table)
      : experiment_(small_experiment(
            folder_.path(), "metrics", single_head(),
            {"data.image_size=32", "head.theta.attention_resolutions=[16]", "metrics=[{" + table + "}]"})),
        batch_(noised_batch(*model_.schedule, fill(1, {3, 3, 32, 32}), at::tensor({100, 300, 500}, at::kLong),
                            fill(2, {3, 3, 32, 32}))) {
    batch_.seeds = {1, 2, 3};
    batch_.step = 1;
  }

  struct Found {
    Tensor distance, gradient;
  };
  Found operator()() const {
    const Tensor x = (0.7 * batch_.x0 + 0.3 * fill(3, {3, 3, 32, 32})).requires_grad_(true);
    const std::vector<LossTerm> terms = metrics_.evaluate(x, batch_, "theta");
    REQUIRE(terms.size() == 1);
    if (terms.front().value.requires_grad()) terms.front().value.sum().backward();
    return {terms.front().value.detach(), x.grad()};
  }

  std::string remark() { return metrics_.remark(); }

 private:
  TemporaryFolder folder_;
  LoadedExperiment experiment_;
  Model model_ = make_model(experiment_, 0);
  ExperimentMetrics metrics_{experiment_, *model_.schedule, c10::Device(c10::kCPU)};
  TrainingBatch batch_;
};

/// Autocast of the networks on the CPU.
class NetworksIn {
 public:
  explicit NetworksIn(at::ScalarType dtype) : before_(at::autocast::get_autocast_dtype(at::kCPU)) {
    at::autocast::set_autocast_dtype(at::kCPU, dtype);
    at::autocast::set_autocast_enabled(at::kCPU, true);
  }
  ~NetworksIn() {
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::set_autocast_dtype(at::kCPU, before_);
  }

 private:
  at::ScalarType before_;
};

const std::string kNetwork = "type = \"feature_distance\", extractor = {type = \"random_patches\"}";
const std::string kInHalf = ", precision = \"bf16\"";

}  // namespace

TEST_CASE("every metric computes in bf16 about what it computes in float32, with a finite gradient") {
  const MetricUses uses;
  for (const std::string& table : uses.tables()) {
    CAPTURE(table);
    const Metric::Found whole = Metric(table)(), half = Metric(table + kInHalf)();
    CHECK((half.distance.scalar_type() == at::kFloat));
    const double difference =
        ((half.distance - whole.distance).abs() / (whole.distance.abs() + 1e-6)).max().item<double>();
    MESSAGE(table, ": relative difference ", difference);
    CHECK(difference < 0.02);  // some roundings of 2^-8, which partly cancel in means
    REQUIRE(half.gradient.defined() == whole.gradient.defined());
    if (!whole.gradient.defined()) continue;
    CHECK((half.gradient.scalar_type() == at::kFloat));
    CHECK(half.gradient.isfinite().all().item<bool>());
    const Tensor angle = at::cosine_similarity(half.gradient.flatten(1), whole.gradient.flatten(1), 1);
    CHECK((angle.gt(0.98).logical_or(whole.gradient.flatten(1).norm(2, 1) == 0)).all().item<bool>());
  }
}

TEST_CASE("a metric computes in float32 whatever the networks do, and in bf16 where it is told to") {
  const Metric plain(kNetwork), half(kNetwork + kInHalf);
  const Metric::Found expected = plain(), rounded = half();
  CHECK_FALSE(at::equal(expected.distance, rounded.distance));
  const NetworksIn autocast(at::kBFloat16);
  CHECK(at::equal(plain().distance, expected.distance));
  CHECK(at::equal(half().distance, rounded.distance));
}

TEST_CASE("a precision with which a metric computes the same as in float32 is reported, once") {
  const auto said = [](const std::string& table) {
    Metric metric(table);
    std::string all;
    for (int batch = 0; batch < 3; ++batch) {
      metric();
      all += metric.remark();
    }
    return all;
  };
  CHECK(
      said("type = \"l1\"" + kInHalf) ==
      "warning: metric 'l1': its precision has no effect, since the metric computes no convolution or matrix product; "
      "leave `precision` out");
  CHECK(said("type = \"l1\"").empty());
  CHECK(said(kNetwork + kInHalf).empty());
}

TEST_CASE("a metric in bf16 leaves the arithmetic of the networks as it was") {
  const Metric half(kNetwork + kInHalf);
  half();
  CHECK_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  const NetworksIn autocast(at::kHalf);
  half();
  CHECK(at::autocast::is_autocast_enabled(at::kCPU));
  CHECK((at::autocast::get_autocast_dtype(at::kCPU) == at::kHalf));
}
