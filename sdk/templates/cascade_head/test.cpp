#include <ATen/ATen.h>

#include <cstdlib>
#include <iostream>

#include "casdm/beta_schedule.h"
#include "casdm/cascade_head.h"
#include "casdm/plugin_description.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// A network of one parameter: y = a x.
class OneFactor : public casdm::Backbone {
 public:
  at::Tensor factor = at::full({1}, 0.5).requires_grad_(true);
  casdm::NamedTensors parameters() const override { return {{"factor", factor}}; }
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const casdm::Condition&) override { return factor * x; }
};

/// Makes that network, whatever is asked for.
class Factory : public casdm::ComponentFactory {
  std::shared_ptr<void> make_any(std::string_view, const casdm::ComponentConfig&, const void*) const override {
    return std::static_pointer_cast<void>(std::shared_ptr<casdm::Backbone>(std::make_shared<OneFactor>()));
  }
};

class NoMetrics : public casdm::MetricTerms {
  std::vector<casdm::LossTerm> evaluate(const at::Tensor&, const casdm::TrainingBatch&,
                                        const std::string&) const override {
    return {};
  }
};

}  // namespace

int main() {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  const Factory factory;
  casdm::CascadeHead::Spec spec;
  spec.schedule = std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03));
  spec.factory = &factory;
  const auto head = std::static_pointer_cast<casdm::CascadeHead>(
      plugin.find("cascade_head", "template_name")->make(casdm::Value::Table{}, &spec));

  const at::Tensor x0 = at::linspace(-1, 1, 2 * 3 * 4 * 4).reshape({2, 3, 4, 4});
  const casdm::TrainingBatch batch = casdm::noised_batch(*spec.schedule, x0, at::arange(2, at::kLong) * 50, x0.flip(0));

  const casdm::Estimate estimate = head->estimate({batch.x_t, batch.t});
  const at::Tensor again = spec.schedule->predict_x0_from_eps(batch.x_t, batch.t, estimate.eps);
  check((again - estimate.x0).abs().max().item<double>() < 1e-4, "noise and clean image belong together");

  const casdm::Losses losses = head->losses(batch, NoMetrics());
  check(losses.terms.size() == 1 && losses.terms[0].value.sizes() == at::IntArrayRef{2}, "one value per image");
  losses.terms[0].value.mean().backward();
  check(head->modules()[0].module->parameters()[0].second.grad().abs().item<double>() > 0, "the loss trains theta");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
