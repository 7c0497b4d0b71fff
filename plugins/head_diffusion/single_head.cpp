#include "single_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "casdm/error.h"
#include "variational_bound.h"

namespace casdm::head_diffusion {

namespace {

const SingleOptions& checked(const SingleOptions& options) {
  if (options.objective != "vlb") return options;
  if (options.variance != "learned_range") {
    throw ConfigError("objective = \"vlb\" needs variance = \"learned_range\", got \"" + options.variance + "\"");
  }
  if (options.t_weight != "uniform") {
    throw ConfigError("t_weight weights the simple loss, which objective = \"vlb\" does not have; leave t_weight out");
  }
  return options;
}

}  // namespace

void SingleOptions::describe(Schema<SingleOptions>& s) {
  s.component("theta", &SingleOptions::theta, Backbone::kind, "The network.").required();
  s.option("prediction_type", &SingleOptions::prediction_type, "What theta predicts: noise, clean image or v.")
      .choices({"epsilon", "sample", "v_prediction"});
  TimeWeightOptions::describe_to(s);
  s.option("variance", &SingleOptions::variance,
           "learned_range: theta also predicts the log variance between beta~_t and beta_t (Nichol & Dhariwal 2021).")
      .choices({"fixed", "learned_range"});
  s.option("objective", &SingleOptions::objective,
           "simple: |error|^2, and the bound for a learned variance alone (hybrid); vlb: the bound for all outputs.")
      .choices({"simple", "vlb"});
  s.option("vlb_weight", &SingleOptions::vlb_weight,
           "Factor of the whole bound in the hybrid loss; a sampled timestep's term is weighted by T times this.")
      .at_least(0);
}

SingleHead::SingleHead(const SingleOptions& options, const Spec& spec)
    : options_(checked(options)),
      channels_(spec.channels),
      schedule_(options.prediction_type == "epsilon" ? with_signal(spec.schedule, "prediction_type = \"epsilon\"")
                                                     : spec.schedule),
      theta_("theta", options.theta, spec, spec.channels,
             options.variance == "learned_range" ? 2 * spec.channels : spec.channels),
      weights_(time_weights(options, *schedule_, options.prediction_type)) {}

std::vector<NamedModule> SingleHead::modules() const { return {{theta_.name(), theta_.backbone(), true}}; }

SingleHead::Prediction SingleHead::predict(const Tensor& x_t, const Tensor& t, const Condition& condition) const {
  const Tensor outputs = theta_(x_t, t, condition);
  Prediction prediction;
  prediction.output = outputs.narrow(1, 0, channels_);
  Estimate& estimate = prediction.estimate;
  if (learns_variance()) estimate.variance = outputs.narrow(1, channels_, channels_);

  if (options_.prediction_type == "epsilon") {
    estimate.eps = prediction.output;
    estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, estimate.eps);
  } else if (options_.prediction_type == "sample") {
    estimate.x0 = prediction.output;
    estimate.x0_from_eps = estimate.x0;
    estimate.eps = schedule_->predict_eps_from_x0(x_t, t, estimate.x0);
  } else {
    estimate.x0_from_eps = schedule_->predict_x0_from_v(x_t, t, prediction.output);
    // eps = sqrt(A_t) v + sqrt(1-A_t) x_t, which unlike (x_t - sqrt(A_t) x0) / sqrt(1-A_t) divides by nothing small.
    estimate.eps = schedule_->velocity(-x_t, t, prediction.output);
  }
  return prediction;
}

Estimate SingleHead::estimate(const Tensor& x_t, const Tensor& t, const Tensor& labels) {
  return predict(x_t, t, sampling_condition(labels)).estimate;
}

LossTerm SingleHead::simple_term(const Tensor& output, const TrainingBatch& batch) const {
  LossTerm term{"eps", {}, 1.0, theta_.name()};
  if (options_.prediction_type == "epsilon") {
    term.value = squared_error(batch.eps, output);
  } else if (options_.prediction_type == "sample") {
    term.name = "x0";
    term.value = squared_error(batch.x0, output);
  } else {
    term.name = "v";
    term.value = squared_error(schedule_->velocity(batch.x0, batch.t, batch.eps), output);
  }
  if (!weights_.empty()) term.value = NoiseScheduler::gather(weights_, batch.t, term.value) * term.value;
  return term;
}

LossTerm SingleHead::vlb_term(const Estimate& estimate, const TrainingBatch& batch) const {
  const bool is_hybrid = options_.objective == "simple";
  const Tensor x0 = is_hybrid ? estimate.x0_from_eps.detach() : estimate.x0_from_eps;
  const double num_terms = static_cast<double>(schedule_->num_train_timesteps());
  return {"vlb", variational_bound(*schedule_, batch, x0, estimate.variance),
          is_hybrid ? options_.vlb_weight * num_terms : num_terms, theta_.name()};
}

Losses SingleHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  const auto [output, estimate] = predict(batch.x_t, batch.t, batch.condition(theta_.name()));
  Losses losses;
  if (options_.objective == "simple") losses.terms.push_back(simple_term(output, batch));
  if (learns_variance()) losses.terms.push_back(vlb_term(estimate, batch));
  for (LossTerm& term : metrics.evaluate(estimate.x0_from_eps, batch, theta_.name())) {
    losses.terms.push_back(std::move(term));
  }
  const at::NoGradGuard no_grad;
  losses.statistics = {{"error.x0_from_eps", squared_error(batch.x0, estimate.x0_from_eps.clamp(-1, 1))}};
  return losses;
}

}  // namespace casdm::head_diffusion
