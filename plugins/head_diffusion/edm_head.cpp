#include "edm_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <numbers>

#include "casdm/random.h"

namespace casdm::head_diffusion {

namespace {

constexpr std::int64_t kCosines = 128;
constexpr double kLargestLevel = 10;  // bound of ln(sigma) / 4: without signal, sigma is infinite

}  // namespace

void EdmOptions::describe(Schema<EdmOptions>& s) {
  s.component("theta", &EdmOptions::theta, Backbone::kind, "F, whose input and output have variance 1.").required();
  s.option("sigma_data", &EdmOptions::sigma_data, "Standard deviation of the images in [-1, 1].").greater_than(0);
  s.option("learned_weight", &EdmOptions::learned_weight,
           "Weight noise levels by how uncertain the prediction is there, which a small module learns.");
}

LossUncertainty::LossUncertainty(std::uint64_t seed)
    : frequency_(seeded_normal(seed, "frequency", {kCosines}, 2 * std::numbers::pi)),
      phase_(seeded_uniform(seed, "phase", {kCosines}, std::numbers::pi)),
      weight_(at::zeros({kCosines}).set_requires_grad(true)) {}

Tensor LossUncertainty::operator()(const Tensor& log_snr) const {
  const Tensor level = (-0.125 * log_snr).clamp(-kLargestLevel, kLargestLevel).to(at::kFloat);
  return at::mv((level.unsqueeze(1) * frequency_ + phase_).cos(), weight_);
}

EdmHead::EdmHead(const EdmOptions& options, const Spec& spec)
    : options_(options),
      schedule_(spec.schedule),
      scaled_(spec.schedule, options.sigma_data),
      theta_("theta", options.theta, spec, spec.image.channels, spec.image.channels) {
  if (options.learned_weight) uncertainty_ = std::make_shared<LossUncertainty>(derive_seed(spec.seed, "uncertainty"));
}

std::vector<NamedModule> EdmHead::modules() const {
  std::vector<NamedModule> modules = {theta_.module()};
  if (uncertainty_ != nullptr) modules.push_back({"uncertainty", uncertainty_});
  return modules;
}

Estimate EdmHead::predict(const Tensor& x_t, const Tensor& t, const Condition& condition) const {
  Estimate estimate;
  estimate.x0 = scaled_.clean_image(theta_, x_t, t, condition);
  estimate.x0_from_eps = estimate.x0;
  estimate.eps = schedule_->predict_eps_from_x0(x_t, t, estimate.x0);
  return estimate;
}

Estimate EdmHead::estimate(const EstimateInput& input) { return predict(input.x_t, input.t, input.condition); }

Losses EdmHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  const Estimate estimate = predict(batch.x_t, batch.t, batch.condition_for(theta_.name()));
  const Tensor weight = scaled_.variance_at(batch.t) / (batch.sigma * options_.sigma_data).square();
  Tensor error = squared_error(batch.x0, estimate.x0);
  error = per_image(weight, error) * error;
  Losses losses;
  losses.statistics = {{"error.x0", squared_error(batch.x0, estimate.x0.clamp(-1, 1)).detach()}};
  if (uncertainty_ != nullptr) {
    const Tensor u = (*uncertainty_)(batch.log_snr);
    losses.statistics.emplace_back("uncertainty", u.detach());
    error = error / u.exp() + u;
  }
  losses.terms.push_back({"edm", error, 1.0, theta_.name()});
  for (LossTerm& term : metrics.evaluate(estimate.x0, batch, theta_.name())) losses.terms.push_back(std::move(term));
  return losses;
}

}  // namespace casdm::head_diffusion
