#include "single_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <string_view>

#include "casdm/error.h"
#include "casdm/text.h"
#include "variational_bound.h"

namespace casdm::head_diffusion {

namespace {

const SingleOptions& checked(const SingleOptions& options) {
  if (options.prediction_type == Prediction::flow && options.t_weight != TimeWeight::uniform) {
    throw ConfigError(text("t_weight = \"", to_string(options.t_weight),
                           "\" weights |x0 - x0'|^2, which prediction_type = \"flow\" does not compare; leave t_weight "
                           "out"));
  }
  if (options.loss_space && options.t_weight != TimeWeight::uniform) {
    throw ConfigError(text("t_weight = \"", to_string(options.t_weight),
                           "\" weights |x0 - x0'|^2, whatever loss_space compares; leave one of them out"));
  }
  if (options.objective != Objective::vlb) return options;
  if (options.variance != LearnedVariance::learned_range) {
    throw ConfigError(
        text("objective = \"vlb\" needs variance = \"learned_range\", got \"", to_string(options.variance), "\""));
  }
  if (options.t_weight != TimeWeight::uniform) {
    throw ConfigError("t_weight weights the simple loss, which objective = \"vlb\" does not have; leave t_weight out");
  }
  if (options.loss_space) {
    throw ConfigError(
        "loss_space belongs to the simple loss, which objective = \"vlb\" does not have; leave loss_space out");
  }
  return options;
}

std::string_view term_name(Prediction compared) {
  switch (compared) {
    case Prediction::epsilon:
      return "eps";
    case Prediction::sample:
      return "x0";
    case Prediction::v:
      return "v";
    case Prediction::flow:
      break;
  }
  return "flow";
}

}  // namespace

void SingleOptions::describe(Schema<SingleOptions>& s) {
  s.component("theta", &SingleOptions::theta, Backbone::kind, "The network.").required();
  s.option("prediction_type", &SingleOptions::prediction_type,
           "What theta predicts: noise, clean image, v or the velocity of a rectified flow, eps - x0.");
  s.option(
       "loss_space", &SingleOptions::loss_space,
       "What the simple loss compares; left out: what theta predicts. \"flow\" beside prediction_type = \"sample\": "
       "an error of the clean image counts by 1 / sigma^2 on a rectified flow (Li & He 2025).")
      .not_with("objective", {"vlb"});
  TimeWeightOptions::describe_to(s);
  s.option("variance", &SingleOptions::variance,
           "learned_range: theta also predicts the log variance between beta~_t and beta_t (Nichol & Dhariwal 2021).");
  s.option("objective", &SingleOptions::objective,
           "simple: |error|^2, and the bound for a learned variance alone (hybrid); vlb: the bound for all outputs.")
      .only_with("variance", {"learned_range"});
  s.option("vlb_weight", &SingleOptions::vlb_weight,
           "Factor of the whole bound in the hybrid loss; a sampled timestep's term is weighted by T times this.")
      .at_least(0)
      .only_with("variance", {"learned_range"})
      .not_with("objective", {"vlb"});
  s.option("alignment", &SingleOptions::alignment,
           "Aligns an inner feature of theta with those of a feature extractor, by a projector that is trained with it "
           "(REPA).");
}

SingleHead::SingleHead(const SingleOptions& options, const Spec& spec)
    : options_(checked(options)),
      channels_(spec.image.channels),
      schedule_(options.prediction_type == Prediction::epsilon
                    ? require_final_signal(spec.schedule, "prediction_type = \"epsilon\"")
                    : spec.schedule),
      theta_("theta", options.theta, spec, spec.image.channels,
             options.variance == LearnedVariance::learned_range ? 2 * spec.image.channels : spec.image.channels) {
  if (options.alignment && spec.is_training) alignment_.emplace(*options.alignment, spec, theta_);
}

std::vector<NamedModule> SingleHead::modules() const {
  std::vector<NamedModule> modules = {theta_.module()};
  if (alignment_) modules.push_back(alignment_->module());
  return modules;
}

SingleHead::Outputs SingleHead::predict(const Tensor& x_t, const Tensor& t, const Condition& condition,
                                        Tensor* tap) const {
  const Tensor x = schedule_->network_input(x_t, t);
  Tensor outputs;
  if (tap == nullptr) {
    outputs = theta_(x, t, condition);
  } else {
    const BackboneOutput output = theta_.with_taps(x, t, condition, {alignment_->tap()});
    outputs = output.sample;
    *tap = output.taps.front().second;
  }
  Outputs prediction;
  prediction.output = outputs.narrow(1, 0, channels_);
  Estimate& estimate = prediction.estimate;
  if (learns_variance()) estimate.variance = outputs.narrow(1, channels_, channels_);

  if (options_.prediction_type == Prediction::epsilon) {
    estimate.eps = prediction.output;
    estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, estimate.eps);
  } else if (options_.prediction_type == Prediction::sample) {
    estimate.x0 = prediction.output;
    estimate.x0_from_eps = estimate.x0;
    estimate.eps = schedule_->predict_eps_from_x0(x_t, t, estimate.x0);
  } else if (options_.prediction_type == Prediction::v) {
    estimate.x0_from_eps = schedule_->predict_x0_from_v(x_t, t, prediction.output);
    estimate.eps = schedule_->predict_eps_from_v(x_t, t, prediction.output);
  } else {
    const Tensor alpha = schedule_->alpha(t);
    const Tensor sigma = schedule_->sigma(t);
    const Tensor x_flow = x_t / per_image(alpha + sigma, x_t);
    estimate.x0_from_eps = x_flow - per_image(sigma / (alpha + sigma), x_t) * prediction.output;
    estimate.eps = x_flow + per_image(alpha / (alpha + sigma), x_t) * prediction.output;
  }
  return prediction;
}

Estimate SingleHead::estimate(const EstimateInput& input) {
  return predict(input.x_t, input.t, input.condition).estimate;
}

LossTerm SingleHead::simple_term(const Tensor& output, const TrainingBatch& batch) const {
  const Prediction predicted = options_.prediction_type;
  const Prediction compared = options_.loss_space.value_or(predicted);
  LossTerm term{std::string(term_name(compared)), squared_error(target(predicted, batch), output), 1.0, theta_.name()};
  if (compared != predicted) {
    const Tensor factor =
        error_factor(compared, batch.alpha, batch.sigma) / error_factor(predicted, batch.alpha, batch.sigma);
    term.value = per_image(factor, term.value) * term.value;
  } else if (options_.t_weight != TimeWeight::uniform) {
    term.value = per_image(time_weight(options_, batch.alpha, batch.sigma, predicted), term.value) * term.value;
  }
  return term;
}

LossTerm SingleHead::vlb_term(const Estimate& estimate, const TrainingBatch& batch) const {
  const bool is_hybrid = options_.objective == Objective::simple;
  const Tensor x0 = is_hybrid ? estimate.x0_from_eps.detach() : estimate.x0_from_eps;
  const double num_terms = static_cast<double>(schedule_->num_train_timesteps());
  return {"vlb", variational_bound(*schedule_, batch, x0, estimate.variance),
          is_hybrid ? options_.vlb_weight * num_terms : num_terms, theta_.name()};
}

Tensor SingleHead::target(Prediction predicted, const TrainingBatch& batch) const {
  switch (predicted) {
    case Prediction::epsilon:
      return batch.eps;
    case Prediction::sample:
      return batch.x0;
    case Prediction::v:
      return schedule_->velocity(batch.x0, batch.t, batch.eps);
    case Prediction::flow:
      break;
  }
  return batch.eps - batch.x0;
}

Losses SingleHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  const bool is_aligned = alignment_ && alignment_->is_active(batch.images_seen);
  Tensor tap;
  const auto [output, estimate] =
      predict(batch.x_t, batch.t, batch.condition_for(theta_.name()), is_aligned ? &tap : nullptr);
  Losses losses;
  if (options_.objective == Objective::simple) losses.terms.push_back(simple_term(output, batch));
  if (learns_variance()) losses.terms.push_back(vlb_term(estimate, batch));
  for (LossTerm& term : metrics.evaluate(estimate.x0_from_eps, batch, theta_.name())) {
    losses.terms.push_back(std::move(term));
  }
  if (is_aligned) losses.terms.push_back(alignment_->term(tap, batch.x0, theta_.name()));
  const at::NoGradGuard no_grad;
  losses.statistics = {{"error.x0_from_eps", squared_error(batch.x0, estimate.x0_from_eps.clamp(-1, 1))}};
  return losses;
}

}  // namespace casdm::head_diffusion
