#include "framework/training/batch_draws.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/data/image_transform.h"
#include "framework/loading/plugin_call.h"

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

void check(const TimestepDraw& draw, std::size_t count, std::int64_t num_train_timesteps, const std::string& place) {
  if (draw.t.size() != count || draw.weight.size() != count) {
    throw PluginError(
        text(place, "drew ", draw.t.size(), " timesteps with ", draw.weight.size(), " weights for ", count, " images"));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (draw.t[i] < 0 || draw.t[i] >= num_train_timesteps) {
      throw PluginError(text(place, "drew t = ", draw.t[i], "; expected 0..", num_train_timesteps - 1));
    }
    if (!std::isfinite(draw.weight[i]) || draw.weight[i] < 0) {
      throw PluginError(text(place, "gave t = ", draw.t[i], " the weight ", number(draw.weight[i]),
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
  timesteps_ = experiment.host->make<TimestepSampler>(options_.timesteps, {model.schedule});
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
  if (augmentation_ == nullptr) return;
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < batch.x0.size(0); ++i) {
    seeds.push_back(derive_seed(seed_, "augmentation", static_cast<std::uint64_t>(first_position + i)));
  }
  const Augmented augmented = call_plugin(options_.augmentation, [&] { return augmentation_->apply(batch.x0, seeds); });
  if (!augmented.images.defined() || augmented.images.sizes() != batch.x0.sizes()) {
    throw PluginError(
        text(place_of(options_.augmentation), "returned images of another shape; expected ", batch.x0.sizes()));
  }
  batch.x0 = augmented.images.to(batch.x0.options());
  const std::int64_t size = augmentation_->label_size();
  if (size == 0) return;
  const std::vector<std::int64_t> expected = {batch.x0.size(0), size};
  if (!augmented.labels.defined() || augmented.labels.sizes() != at::IntArrayRef(expected)) {
    throw PluginError(text(place_of(options_.augmentation), "returned labels of another shape; expected ",
                           at::IntArrayRef(expected)));
  }
  batch.augment = augmented.labels.to(batch.x0.options());
}

void BatchDraws::draw_t(DrawnBatch& drawn, std::int64_t first_position) const {
  const std::int64_t count = drawn.batch.x0.size(0);
  const std::vector<double> u = uniform_numbers(seed_, first_position, count);
  const std::int64_t T = schedule_->num_train_timesteps();
  if (timesteps_ == nullptr) {
    drawn.t = at::tensor(plain_draw(u, T).t, at::kLong);
    return;
  }
  const TimestepDraw draw = call_plugin(options_.timesteps, [&] { return timesteps_->draw(u); });
  check(draw, u.size(), T, place_of(options_.timesteps));
  drawn.t = at::tensor(draw.t, at::kLong);
  const bool is_plain = std::all_of(draw.weight.begin(), draw.weight.end(), [](double weight) { return weight == 1; });
  if (!is_plain) drawn.weight = at::tensor(draw.weight, at::kDouble).to(at::kFloat).to(device_);
}

void BatchDraws::observe(const StepRecord& record) {
  if (timesteps_ == nullptr) return;
  const at::NoGradGuard no_grad;
  call_plugin(options_.timesteps, [&] { timesteps_->observe(record.t, record.loss_terms()); });
}

NamedTensors BatchDraws::state() const { return timesteps_ == nullptr ? NamedTensors() : timesteps_->buffers(); }

}  // namespace casdm
