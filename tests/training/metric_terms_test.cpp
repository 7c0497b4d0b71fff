#include "framework/training/metric_terms.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "support/captured.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The metric of a small experiment, applied to predictions of one image.
struct TermMetrics {
  explicit TermMetrics(const std::string& metric = "type = \"l1\"\nweight = 0.5\n")
      : experiment(small_experiment(folder.path(), "metrics", single_head() + "[[metrics]]\n" + metric)) {}

  TemporaryFolder folder;
  LoadedExperiment experiment;
  Model model = make_model(experiment, 0);
  ExperimentMetrics metrics{experiment, *model.schedule, c10::Device(c10::kCPU)};

  std::vector<LossTerm> evaluate(const Tensor& prediction) {
    const Tensor x0 = at::zeros_like(prediction, at::TensorOptions().requires_grad(false));
    const Tensor t = at::zeros({prediction.size(0)}, at::kLong);
    return metrics.evaluate(prediction, noised_batch(*model.schedule, x0, t, x0), "theta");
  }
};

}  // namespace

TEST_CASE("metrics that a head does not ask for are reported once") {
  TermMetrics forgotten;
  forgotten.metrics.check_use({});
  CHECK(forgotten.metrics.remark().find("so [[metrics]] \"l1\" may have no effect") != std::string::npos);
  forgotten.metrics.check_use({});
  CHECK(forgotten.metrics.remark().empty());
  TermMetrics asked, idle("type = \"l1\"\nweight = 0.0\n");
  asked.metrics.check_use({asked.evaluate(fill(1, {2, 3, 16, 16}).requires_grad_()), {}});
  idle.metrics.check_use({});
  CHECK(asked.metrics.remark().empty());
  CHECK(idle.metrics.remark().empty());
}

TEST_CASE("a metric whose term goes into another, or that also gets a prediction without a gradient, has its effect") {
  TermMetrics merged;
  const Tensor prediction = fill(1, {2, 3, 16, 16}).requires_grad_();
  const std::vector<LossTerm> terms = merged.evaluate(prediction);
  merged.metrics.check_use({{{"total", terms[0].value * 0.5 + prediction.mean({1, 2, 3}), 1.0, "theta"}}, {}});
  CHECK(merged.metrics.remark().empty());
  TermMetrics monitored;
  monitored.evaluate(prediction.detach());
  monitored.metrics.check_use({monitored.evaluate(prediction), {}});
  CHECK(monitored.metrics.remark().empty());
}

TEST_CASE("metrics whose term a head leaves out, or whose prediction it detaches, are reported once") {
  TermMetrics left_out, detached;
  for (int time = 0; time < 2; ++time) {
    left_out.evaluate(fill(1, {2, 3, 16, 16}).requires_grad_());
    left_out.metrics.check_use({});
    detached.metrics.check_use({detached.evaluate(fill(1, {2, 3, 16, 16})), {}});
    const std::string of_left_out = left_out.metrics.remark(), of_detached = detached.metrics.remark();
    CHECK(of_left_out.empty() == (time > 0));
    CHECK(of_detached.empty() == (time > 0));
    if (time > 0) break;
    CHECK(of_left_out.find("asked for the term 'metric.l1' and left it out of its losses") != std::string::npos);
    CHECK(of_detached.find("metric 'l1' trains nothing: the prediction that the head gives it has no gradient") !=
          std::string::npos);
  }
}

TEST_CASE("predictions outside [-1, 1] reach the metrics unchanged, and that is reported once") {
  TermMetrics m;
  const auto remark = [&] {
    const Tensor extreme = m.metrics.take_extreme();
    if (extreme.defined()) m.metrics.observe_extreme(extreme.item<double>());
    return m.metrics.remark();
  };
  const Tensor inside = fill(1, {2, 3, 16, 16}).requires_grad_();
  CHECK(remark().empty());
  m.evaluate(inside);
  CHECK(remark().empty());

  Tensor outside = inside.detach().clone();
  outside[1][2][3][4] = -3.5;
  outside.requires_grad_(true);
  const std::vector<LossTerm> terms = m.evaluate(outside);
  REQUIRE(terms.size() == 1);
  CHECK(at::allclose(terms[0].value, outside.abs().flatten(1).mean(1)));
  terms[0].value.sum().backward();
  CHECK(outside.grad()[1][2][3][4].item<double>() == doctest::Approx(-1.0 / 768).epsilon(1e-6));

  CHECK(remark().find("outside [-1, 1], here up to 3.5") != std::string::npos);
  m.evaluate(outside);
  CHECK(remark().empty());
}

TEST_CASE("images are mapped to a metric's input range before it gets them") {
  TermMetrics m("type = \"l1\"\ninput_range = [0, 1]\n");
  const std::vector<LossTerm> terms = m.evaluate(at::ones({1, 3, 16, 16}));
  REQUIRE(terms.size() == 1);
  CHECK(terms[0].value[0].item<double>() == doctest::Approx(0.5));  // 1 compared with 0, in a range half as wide
}

TEST_CASE("a range of t without any timestep is refused") {
  for (const std::string range : {"[0.001, 0.002]", "[0.501, 0.519]", "[0, 0.0199]"}) {
    CHECK_THROWS_WITH_AS(TermMetrics("type = \"l1\"\nt_range = " + range),
                         doctest::Contains("no timestep falls into t_range = "), ConfigError);
  }
  CHECK_NOTHROW(TermMetrics("type = \"l1\"\nt_range = [0, 0.02]"));
}

TEST_CASE("a range of t without any time of a continuous path is refused") {
  const TemporaryFolder folder;
  const auto made = [&](const std::string& range) {
    const LoadedExperiment experiment = small_experiment(
        folder.path(), "flow", single_head() + "[[metrics]]\ntype = \"l1\"\nt_range = " + range,
        {"noise={type=\"flow\",t_min=0.01,t_max=0.99}", "sampler={type=\"euler\",spacing=\"trailing\"}"});
    ExperimentMetrics(experiment, *make_model(experiment, 0).schedule, c10::Device(c10::kCPU));
  };
  CHECK_THROWS_WITH_AS(made("[0, 0.005]"), doctest::Contains("no timestep falls into t_range = "), ConfigError);
  CHECK_NOTHROW(made("[0, 0.02]"));
}

TEST_CASE("an input range that does not increase is refused, and one other than the metric's own is reported") {
  for (const std::string range : {"[0, 0]", "[1, -1]"}) {
    CHECK_THROWS_WITH_AS(TermMetrics("type = \"l1\"\ninput_range = " + range), doctest::Contains("which does not rise"),
                         ConfigError);
  }
  const auto said = [](const std::string& metric) { return stderr_of([&] { TermMetrics m(metric); }); };
  CHECK(said("type = \"ssim\"\ninput_range = [0, 1]\n")
            .find("'ssim' expects pixels in [-1.0, 1.0] and gets "
                  "[0.0, 1.0]") != std::string::npos);
  CHECK(said("type = \"ssim\"\n").find("expects pixels") == std::string::npos);
  CHECK(said("type = \"l1\"\ninput_range = [0, 1]\n").find("expects pixels") == std::string::npos);
}

TEST_CASE("a metric that gives the prediction no gradient is reported after its first batches, once") {
  const auto said = [](const std::string& metric) {
    TermMetrics m(metric);
    const auto remark = [&] {
      m.evaluate(fill(1, {2, 3, 16, 16}).requires_grad_(true));
      return m.metrics.remark();
    };
    std::string all;
    for (int batch = 0; batch < 6; ++batch) {
      const std::string next = remark();
      CHECK((all.empty() || next.empty()));
      all += next;
    }
    return all;
  };
  for (const std::string fault : {"detach", "round"}) {
    CHECK(said("type = \"faulty\"\nfault = \"" + fault + "\"\n").find("'faulty' gives the prediction no gradient") !=
          std::string::npos);
  }
  CHECK(said("type = \"l1\"\n").empty());
  CHECK(said("type = \"faulty\"\nfault = \"detach\"\nweight = 0.0\n").empty());
  // A range of t without an image in the batch says nothing about the metric.
  CHECK(said("type = \"l1\"\nt_range = [0.9, 1.0]\n").empty());
  // An image of one colour has no edges that could be steeper.
  TermMetrics edge("type = \"edge\"\n");
  for (const bool is_flat : {true, true, false, false, false}) {
    const Tensor image = is_flat ? at::zeros({2, 3, 16, 16}) : fill(1, {2, 3, 16, 16});
    edge.evaluate(image.requires_grad_(true));
    CHECK(edge.metrics.remark().empty());
  }
}
