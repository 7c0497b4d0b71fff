#include <ATen/ATen.h>

#include "casdm/beta_schedule.h"
#include "casdm/cascade_head.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

namespace {

/// A network with one parameter: y = a x.
class OneFactor : public casdm::Backbone {
 public:
  at::Tensor factor = at::full({1}, 0.5).requires_grad_(true);
  casdm::NamedTensors parameters() const override { return {{"factor", factor}}; }
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const casdm::Condition&) override { return factor * x; }
};

class NoMetrics : public casdm::MetricTerms {
  std::vector<casdm::LossTerm> evaluate(const at::Tensor&, const casdm::TrainingBatch&,
                                        const std::string&) const override {
    return {};
  }
};

}  // namespace

int main() {
  const casdm::testing::FactoryOf<casdm::Backbone> factory([](const auto&) { return std::make_shared<OneFactor>(); });
  casdm::CascadeHead::Spec spec;
  spec.schedule = std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03));
  spec.factory = &factory;
  const auto head = make<casdm::CascadeHead>("template_name", casdm::Value::Table{}, spec);

  const at::Tensor x0 = at::linspace(-1, 1, 2 * 3 * 4 * 4).reshape({2, 3, 4, 4});
  const casdm::TrainingBatch batch = casdm::noised_batch(*spec.schedule, x0, at::arange(2, at::kLong) * 50, x0.flip(0));

  const casdm::Estimate estimate = head->estimate({batch.x_t, batch.t});
  const at::Tensor again = spec.schedule->predict_x0_from_eps(batch.x_t, batch.t, estimate.eps);
  check((again - estimate.x0).abs().max().item<double>() < 1e-4, "noise and clean image belong together");

  const casdm::Losses losses = head->losses(batch, NoMetrics());
  check(losses.terms.size() == 1 && losses.terms[0].value.sizes() == at::IntArrayRef{2}, "one value per image");
  losses.terms[0].value.mean().backward();
  check(head->modules()[0].module->parameters()[0].second.grad().abs().item<double>() > 0, "the loss trains theta");
  return casdm::testing::result();
}
