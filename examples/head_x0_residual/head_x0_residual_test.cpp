#include <ATen/ATen.h>

#include "casdm/beta_schedule.h"
#include "casdm/cascade_head.h"
#include "casdm/testing.h"

using casdm::testing::check;

namespace {

using at::Tensor;

/// A network with one parameter: `factor` times the first channels of its input.
class OneFactor : public casdm::Backbone {
 public:
  explicit OneFactor(const Spec& spec) : out_channels_(spec.out_channels) {}
  Tensor factor = at::full({1}, 0.5, at::kDouble).requires_grad_(true);
  casdm::NamedTensors parameters() const override { return {{"factor", factor}}; }
  Tensor forward(const Tensor& x, const Tensor&, const casdm::Condition&) override {
    return factor * x.narrow(1, 0, out_channels_);
  }

 private:
  std::int64_t out_channels_;
};

/// A single metric, |prediction - x0|.
class OneMetric : public casdm::MetricTerms {
  std::vector<casdm::LossTerm> evaluate(const Tensor& prediction, const casdm::TrainingBatch& batch,
                                        const std::string& module) const override {
    return {{"metric.l1", (prediction - batch.target).abs().flatten(1).mean(1), 0.1, module}};
  }
};

bool has_gradient(const casdm::NamedModule& module) {
  const Tensor gradient = module.module->parameters()[0].second.grad();
  return gradient.defined() && gradient.abs().item<double>() > 0;
}

struct Fixture {
  casdm::testing::FactoryOf<casdm::Backbone> factory{
      [](const auto& spec) { return std::make_shared<OneFactor>(spec); }};
  casdm::CascadeHead::Spec spec;
  std::shared_ptr<casdm::CascadeHead> head;
  casdm::TrainingBatch batch;

  Fixture() {
    spec.schedule = std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03));
    spec.factory = &factory;
    head = casdm::testing::make<casdm::CascadeHead>("x0_residual", casdm::Value::Table{}, spec);
    const Tensor x0 = at::linspace(-1, 1, 2 * 3 * 4 * 4, at::kDouble).reshape({2, 3, 4, 4});
    batch = casdm::noised_batch(*spec.schedule, x0, at::arange(2, at::kLong) * 50, x0.flip(0) + 0.1);
  }
};

/// Each term must train the module it names, and no other.
void test_routing() {
  Fixture all;
  const std::size_t terms = all.head->losses(all.batch, OneMetric()).terms.size();
  check(terms == 3, "the terms are the metric, v and x0");
  for (std::size_t i = 0; i < terms; ++i) {
    Fixture one;
    const casdm::LossTerm term = one.head->losses(one.batch, OneMetric()).terms[i];
    term.value.mean().backward();
    for (const casdm::NamedModule& module : one.head->modules()) {
      check(has_gradient(module) == (module.name == term.module), term.name + " trains " + term.module + " alone");
    }
  }
}

/// float64 through a few square roots: 1e-12 leaves two digits.
void test_estimate() {
  Fixture f;
  const casdm::Estimate estimate = f.head->estimate({f.batch.x_t, f.batch.t});
  const Tensor implied = f.spec.schedule->predict_x0_from_eps(f.batch.x_t, f.batch.t, estimate.eps);
  check((implied - estimate.x0_from_eps).abs().max().item<double>() < 1e-12, "eps and x0* belong together");
  f.head->modules()[1].module->parameters()[0].second.detach().zero_();
  const casdm::Estimate uncorrected = f.head->estimate({f.batch.x_t, f.batch.t});
  check(uncorrected.x0.equal(uncorrected.x0_from_eps), "when phi is zero nothing is corrected");
  check(!estimate.x0.equal(estimate.x0_from_eps), "else phi corrects");
}

}  // namespace

int main() {
  test_routing();
  test_estimate();
  return casdm::testing::result();
}
