#include "framework/training/batch_draws.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/composition/contract.h"
#include "framework/data/image_transform.h"

namespace casdm {

namespace {

/// One number in [0, 1) an image, from (seed, the image's position in the run): the same whatever the batch size.
std::vector<double> uniform_numbers(std::uint64_t seed, std::int64_t first_position, std::int64_t count) {
  const std::uint64_t stream = derive_seed(seed, "t");
  std::vector<double> u;
  for (std::int64_t i = 0; i < count; ++i)
    u.push_back(uniform(stream + static_cast<std::uint64_t>(first_position + i)));
  return u;
}

/// Every timestep equally likely.
TimestepDraw plain_draw(const std::vector<double>& u, std::int64_t num_train_timesteps) {
  TimestepDraw draw;
  for (const double number : u) {
    draw.t.push_back(static_cast<std::int64_t>(number * static_cast<double>(num_train_timesteps)));
  }
  return draw;
}

void check(const TimestepDraw& draw, std::size_t count, std::int64_t num_train_timesteps,
           const Component<TimestepSampler>& timesteps) {
  if (draw.t.size() != count || draw.weight.size() != count) {
    timesteps.fail(
        text("drew ", draw.t.size(), " timesteps with ", draw.weight.size(), " weights for ", count, " images"));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (draw.t[i] < 0 || draw.t[i] >= num_train_timesteps) {
      timesteps.fail(text("drew t = ", draw.t[i], "; expected 0..", num_train_timesteps - 1));
    }
    if (!std::isfinite(draw.weight[i]) || draw.weight[i] < 0) {
      timesteps.fail(text("gave t = ", draw.t[i], " the weight ", number(draw.weight[i]),
                          "; a weight is finite and not negative"));
    }
  }
}

Tensor draw_noise(std::uint64_t seed, std::int64_t step, const Tensor& like) {
  at::Generator generator = make_generator(derive_seed(seed, "noise", static_cast<std::uint64_t>(step)), like.device());
  return at::empty_like(like).normal_(0, 1, generator);
}

}  // namespace

BatchDraws::BatchDraws(const LoadedExperiment& experiment, const Model& model, c10::Device device)
    : options_(experiment.options),
      seed_(static_cast<std::uint64_t>(options_.run.seed)),
      device_(device),
      schedule_(model.schedule),
      augmentation_(model.augmentation) {
  if (options_.timesteps.type.empty()) return;
  timesteps_ = experiment.host->create<TimestepSampler>(options_.timesteps, {model.schedule});
}

DrawnBatch BatchDraws::draw(const ImageBatch& images, std::int64_t step) const {
  const at::NoGradGuard no_grad;
  DrawnBatch drawn;
  TrainingBatch& batch = drawn.batch;
  batch.x0 = to_float(images.images.to(device_));
  augment(batch, images.first_position);
  draw_t(drawn, images.first_position);
  batch.t = drawn.t.to(device_);
  batch.eps = draw_noise(seed_, step, batch.x0);
  batch.x_t = schedule_->q_sample(batch.x0, batch.t, batch.eps);
  return drawn;
}

void BatchDraws::augment(TrainingBatch& batch, std::int64_t first_position) const {
  if (!augmentation_) return;
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < batch.x0.size(0); ++i) {
    seeds.push_back(derive_seed(seed_, "augmentation", static_cast<std::uint64_t>(first_position + i)));
  }
  const Augmented augmented = augmentation_.call(&Augmentation::apply, batch.x0, seeds);
  checked_images(augmentation_, augmented.images, batch.x0, "apply()");
  batch.x0 = augmented.images.to(batch.x0.options());
  const std::int64_t size = augmentation_.call(&Augmentation::label_size);
  if (size == 0) return;
  const Tensor expected = at::empty({batch.x0.size(0), size}, batch.x0.options());
  const Tensor labels = augmented.labels.defined() ? augmented.labels.to(batch.x0.options()) : augmented.labels;
  batch.augment = checked_images(augmentation_, labels, expected, "apply(), as labels,");
}

void BatchDraws::draw_t(DrawnBatch& drawn, std::int64_t first_position) const {
  const std::int64_t count = drawn.batch.x0.size(0);
  const std::vector<double> u = uniform_numbers(seed_, first_position, count);
  const std::int64_t T = schedule_->num_train_timesteps();
  if (!timesteps_) {
    drawn.t = at::tensor(plain_draw(u, T).t, at::kLong);
    return;
  }
  const TimestepDraw draw = timesteps_.call(&TimestepSampler::draw, u);
  check(draw, u.size(), T, timesteps_);
  drawn.t = at::tensor(draw.t, at::kLong);
  const bool is_plain = std::all_of(draw.weight.begin(), draw.weight.end(), [](double weight) { return weight == 1; });
  if (!is_plain) drawn.weight = at::tensor(draw.weight, at::kDouble).to(at::kFloat).to(device_);
}

void BatchDraws::observe(const StepRecord& record) {
  if (!timesteps_) return;
  const at::NoGradGuard no_grad;
  timesteps_.call(&TimestepSampler::observe, record.t, record.loss_terms());
}

NamedTensors BatchDraws::state() const {
  return timesteps_ ? timesteps_.call(&TimestepSampler::buffers) : NamedTensors();
}

}  // namespace casdm
