#include "consistency_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::head_diffusion {

namespace {

constexpr double kRho = 7;  // Karras et al. 2022

/// (sigma/alpha)^(1/7) at t, float64.
Tensor position(const NoiseScheduler& schedule, const Tensor& t) {
  return (schedule.sigma(t) / schedule.alpha(t)).pow(1 / kRho);
}

double position(const NoiseScheduler& schedule, double t) { return std::pow(schedule.level(t).ratio(), 1 / kRho); }

const ConsistencyOptions& checked(const ConsistencyOptions& options) {
  if (options.last_steps >= options.first_steps) return options;
  throw ConfigError(text("last_steps = ", options.last_steps, ": expected at least first_steps = ", options.first_steps,
                         ", because steps are doubled during training"));
}

}  // namespace

void ConsistencyOptions::describe(Schema<ConsistencyOptions>& s) {
  s.component("theta", &ConsistencyOptions::theta, Backbone::kind, "The network; its running average is the teacher.")
      .required();
  s.option("sigma_data", &ConsistencyOptions::sigma_data, "Standard deviation of the images in [-1, 1].")
      .greater_than(0);
  s.option("teacher_decay", &ConsistencyOptions::teacher_decay,
           "Part of the teacher that is kept at each training step; 0: the teacher is theta of the previous step.")
      .range(0, 1)
      .less_than(1);
  s.option("first_steps", &ConsistencyOptions::first_steps,
           "Steps from the image to noise at the start of the training: few are easy to learn.")
      .range(2, 1 << 20)
      .in_unit("steps");
  s.option("last_steps", &ConsistencyOptions::last_steps,
           "Steps at its end, reached by doubling; the last time by less where that is too far. Many bring student and "
           "teacher close together.")
      .range(2, 1 << 20)
      .in_unit("steps");
  s.option("distance", &ConsistencyOptions::distance,
           "How the two images are compared, beside [[metrics]]: `pseudo_huber`, the norm of the difference, smooth at "
           "0; `l2`, its mean square.")
      .not_with("loss_weight", {0});
  s.option("loss_weight", &ConsistencyOptions::loss_weight, "Factor of that loss; 0: only [[metrics]] train.")
      .at_least(0);
  s.option("pair_weight", &ConsistencyOptions::pair_weight,
           "Weight of a pair of times in that loss: `inverse_step`, 1 / the difference of their sigma/alpha; "
           "`uniform`, 1.")
      .not_with("loss_weight", {0});
}

ConsistencyHead::ConsistencyHead(const ConsistencyOptions& options, const Spec& spec)
    : options_(checked(options)),
      schedule_(require_final_signal(spec.schedule, "the scale of consistency training")),
      scaled_(schedule_, options.sigma_data),
      student_("theta", options.theta, spec, spec.image.channels, spec.image.channels),
      least_(position(*schedule_, schedule_->range().first)),
      most_(position(*schedule_, schedule_->range().last)) {
  if (spec.is_training) {
    teacher_.emplace("teacher", options.theta, spec, spec.image.channels, spec.image.channels);
  }
}

std::vector<NamedModule> ConsistencyHead::modules() const {
  if (!teacher_) return {student_.module()};
  NamedModule teacher = teacher_->module(/*is_trainable=*/false);
  teacher.average_of = student_.name();
  teacher.average_decay = options_.teacher_decay;
  return {student_.module(), teacher};
}

Estimate ConsistencyHead::estimate(const EstimateInput& input) {
  Estimate estimate;
  estimate.x0 = scaled_.clean_image(student_, input.x_t, input.t, input.condition);
  estimate.x0_from_eps = estimate.x0;
  estimate.eps = schedule_->predict_eps_from_x0(input.x_t, input.t, estimate.x0);
  return estimate;
}

std::int64_t ConsistencyHead::steps(std::int64_t images_seen, std::int64_t total_images) const {
  // Song & Dhariwal 2023, section 3.4: each number of steps is used for an equal part of the training, but the last one
  // for less where the ratio is no power of two. Theirs is rounded down, and some last_steps are never reached.
  const double doublings =
      std::log2(static_cast<double>(options_.last_steps) / static_cast<double>(options_.first_steps));
  const double part = total_images > 0 ? static_cast<double>(images_seen) / static_cast<double>(total_images) : 1;
  const double done = std::floor(part * (doublings + 1));
  const double steps = static_cast<double>(options_.first_steps) * std::exp2(done);
  return std::min(static_cast<std::int64_t>(steps), options_.last_steps);
}

Tensor ConsistencyHead::time_below(const Tensor& t, std::int64_t steps) const {
  const Tensor below = position(*schedule_, t) - (most_ - least_) / static_cast<double>(steps);
  const Tensor s = schedule_->time_at(-2 * kRho * below.clamp_min(least_).log());
  return at::where(below.le(least_), at::full_like(s, schedule_->range().clean), s);
}

LossTerm ConsistencyHead::compared(const Tensor& student, const Tensor& teacher, const Tensor& step) const {
  Tensor value;
  if (options_.distance == ConsistencyLoss::l2) {
    value = squared_error(student, teacher);
  } else {
    const double elements = static_cast<double>(student.numel()) / static_cast<double>(student.size(0));
    const double c = 0.00054 * std::sqrt(elements);  // Song & Dhariwal 2023, section 3.3
    value = ((student - teacher).square().flatten(1).sum(1) + c * c).sqrt() - c;
  }
  if (options_.pair_weight == PairWeight::inverse_step) value = value / step.to(value.scalar_type());
  return {"consistency", value, options_.loss_weight, student_.name()};
}

Losses ConsistencyHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  // Student and teacher use the same dropout masks.
  const Condition condition = batch.condition_for(student_.name());
  const std::int64_t steps_now = steps(batch.images_seen, batch.total_images);
  log_.info_once(steps_now, " discretisation steps at this point of train.total_images");
  const Tensor s = time_below(batch.t, steps_now);
  TrainingBatch towards = batch;
  {
    // For the clean image the network would get the logarithm of 0; it gets the first time, and the result is not used.
    const at::NoGradGuard no_grad;
    const Tensor is_clean = s.eq(schedule_->range().clean);
    const Tensor noisy = at::where(is_clean, at::full_like(s, schedule_->range().first), s);
    const Tensor denoised =
        scaled_.clean_image(*teacher_, schedule_->q_sample(batch.x0, noisy, batch.eps), noisy, condition);
    towards.target = at::where(is_clean.view({-1, 1, 1, 1}), batch.x0, denoised);
  }
  const Tensor student = scaled_.clean_image(student_, batch.x_t, batch.t, condition);
  const Tensor step = batch.sigma / batch.alpha - schedule_->sigma(s) / schedule_->alpha(s);
  Losses losses;
  losses.terms.push_back(compared(student, towards.target, step));
  for (LossTerm& term : metrics.evaluate(student, towards, student_.name())) losses.terms.push_back(std::move(term));
  const Tensor error = squared_error(batch.x0, student.detach().clamp(-1, 1));
  losses.statistics = {{"error.x0", error}, {"steps", at::full_like(error, static_cast<double>(steps_now))}};
  return losses;
}

}  // namespace casdm::head_diffusion
