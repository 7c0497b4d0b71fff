#include "framework/training/metric_terms.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The metrics of a small experiment, given predictions of one image.
struct Metrics {
  TemporaryFolder folder;
  LoadedExperiment experiment =
      small_experiment(folder.path(), "metrics", single_head() + "[[metrics]]\ntype = \"l1\"\nweight = 0.5\n");
  Model model = make_model(experiment, 0);
  ExperimentMetrics metrics{experiment, *model.schedule, c10::Device(c10::kCPU)};

  std::vector<LossTerm> evaluate(const Tensor& prediction) {
    TrainingBatch batch;
    batch.x0 = at::zeros_like(prediction);
    batch.t = at::zeros({prediction.size(0)}, at::kLong);
    return metrics.evaluate(prediction, batch, "theta");
  }
};

}  // namespace

TEST_CASE("predictions outside [-1, 1] reach the metrics as they are, and that is said once") {
  Metrics m;
  const Tensor inside = fill(1, {2, 3, 16, 16});
  CHECK(m.metrics.remark().empty());
  m.evaluate(inside);
  CHECK(m.metrics.remark().empty());

  Tensor outside = inside.clone();
  outside[1][2][3][4] = -3.5;
  outside.requires_grad_(true);
  const std::vector<LossTerm> terms = m.evaluate(outside);
  REQUIRE(terms.size() == 1);
  CHECK(at::allclose(terms[0].value, outside.abs().flatten(1).mean(1)));
  terms[0].value.sum().backward();
  CHECK(outside.grad()[1][2][3][4].item<double>() == doctest::Approx(-1.0 / 768).epsilon(1e-6));

  CHECK(m.metrics.remark().find("outside [-1, 1], here up to 3.5") != std::string::npos);
  m.evaluate(outside);
  CHECK(m.metrics.remark().empty());
}
