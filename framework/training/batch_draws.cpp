#include "framework/training/batch_draws.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/philox.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/composition/contract.h"
#include "framework/data/image_transform.h"
#include "framework/loading/untouched.h"

namespace casdm {

namespace {

/// One number in [0, 1) per image, from (seed, the image's position in the run): the same whatever the batch size.
std::vector<double> uniform_numbers(std::uint64_t seed, std::int64_t first_position, std::int64_t count) {
  const std::uint64_t stream = derive_seed(seed, "t");
  std::vector<double> u;
  for (std::int64_t i = 0; i < count; ++i)
    u.push_back(uniform(stream + static_cast<std::uint64_t>(first_position + i)));
  return u;
}

/// Every time of the path is equally likely.
std::vector<double> plain_times(const std::vector<double>& u, const TimeRange& times) {
  const double length = times.last - times.first + (times.is_whole ? 1 : 0);
  std::vector<double> t;
  for (const double number : u) {
    const double at = times.first + number * length;
    t.push_back(times.is_whole ? std::min(std::floor(at), times.last) : at);
  }
  return t;
}

void check(const TimestepDraw& draw, std::size_t count, const TimeRange& times,
           const Component<TimestepSampler>& timesteps) {
  if (draw.t.size() != count || draw.weight.size() != count) {
    timesteps.fail(
        text("drew ", draw.t.size(), " timesteps with ", draw.weight.size(), " weights for ", count, " images"));
  }
  const auto [low, high] = std::minmax(times.first, times.last);
  for (std::size_t i = 0; i < count; ++i) {
    const double t = draw.t[i];
    if (!(t >= low && t <= high) || (times.is_whole && t != std::floor(t))) {
      timesteps.fail(text("drew t = ", t, "; expected ", times.is_whole ? "a whole number in " : "", low, "..", high));
    }
    if (!std::isfinite(draw.weight[i]) || draw.weight[i] < 0) {
      timesteps.fail(
          text("gave t = ", t, " the weight ", number(draw.weight[i]), "; a weight is finite and not negative"));
    }
  }
}

/// One seed per image, from (seed, purpose, the image's position in the run).
std::vector<std::uint64_t> image_seeds(std::uint64_t seed, const char* purpose, std::int64_t first_position,
                                       std::int64_t count) {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) {
    seeds.push_back(derive_seed(seed, purpose, static_cast<std::uint64_t>(first_position + i)));
  }
  return seeds;
}

}  // namespace

BatchDraws::BatchDraws(const LoadedExperiment& experiment, const Model& model, c10::Device device, int rank, int size)
    : options_(experiment.options),
      seed_(static_cast<std::uint64_t>(options_.run.seed)),
      device_(device),
      copies_(device),
      rank_(rank),
      size_(size),
      schedule_(model.schedule),
      augmentation_(model.augmentation) {
  if (options_.timesteps.type.empty()) return;
  timesteps_ = experiment.host->create<TimestepSampler>(options_.timesteps, {model.schedule});
  learned_ = KeptBuffers<TimestepSampler>(timesteps_);
}

DrawnBatch BatchDraws::draw(const ImageBatch& images) const {
  const at::NoGradGuard no_grad;
  DrawnBatch drawn;
  TrainingBatch& batch = drawn.batch;
  const Tensor loaded = copies_.to_device(images.images);
  batch.x0 = loaded.is_floating_point() ? loaded : to_float(loaded);
  for (const auto& [name, extra] : images.extras) batch.condition.extras[name] = copies_.to_device(extra);
  augment(batch, images.first_position);
  draw_t(drawn, images.first_position);
  const Tensor t = to_device(drawn.t.to(schedule_->range().is_whole ? at::kLong : at::kDouble), device_);
  Condition condition = std::move(batch.condition);
  const std::int64_t first = images.first_position, count = batch.x0.size(0);
  batch = noised_batch(*schedule_, batch.x0, t, normal_like(batch.x0, image_seeds(seed_, "noise", first, count)));
  batch.condition = std::move(condition);
  batch.seeds = image_seeds(seed_, "image", first, count);
  return drawn;
}

void BatchDraws::augment(TrainingBatch& batch, std::int64_t first_position) const {
  if (!augmentation_) return;
  const auto seeds = image_seeds(seed_, "augmentation", first_position, batch.x0.size(0));
  const Untouched given({batch.x0});
  const Augmented augmented = augmentation_.call(&Augmentation::apply, batch.x0, seeds);
  given.check(augmentation_, "the images");
  checked_images(augmentation_, augmented.images, batch.x0, "apply()");
  batch.x0 = augmented.images.to(batch.x0.options());
  const std::int64_t size = augmentation_.call(&Augmentation::label_size);
  if (size == 0) return;
  const Tensor expected = at::empty({batch.x0.size(0), size}, batch.x0.options());
  const Tensor labels = augmented.labels.defined() ? augmented.labels.to(batch.x0.options()) : augmented.labels;
  batch.condition.augment = checked_images(augmentation_, labels, expected, "apply(), as labels,");
}

void BatchDraws::draw_t(DrawnBatch& drawn, std::int64_t first_position) const {
  const std::int64_t count = drawn.batch.x0.size(0);
  const std::vector<double> u = uniform_numbers(seed_, first_position - rank_ * count, size_ * count);
  const auto own = [&](const Tensor& of_all) { return of_all.narrow(0, rank_ * count, count); };
  const TimeRange times = schedule_->range();
  if (!timesteps_) {
    drawn.t_of_all = at::tensor(plain_times(u, times), at::kDouble);
    drawn.t = own(drawn.t_of_all);
    return;
  }
  const TimestepDraw draw = timesteps_.call(&TimestepSampler::draw, u);
  check(draw, u.size(), times, timesteps_);
  drawn.t_of_all = at::tensor(draw.t, at::kDouble);
  drawn.t = own(drawn.t_of_all);
  const bool is_plain = std::all_of(draw.weight.begin(), draw.weight.end(), [](double weight) { return weight == 1; });
  if (!is_plain) drawn.weight = to_device(own(at::tensor(draw.weight, at::kDouble).to(at::kFloat)), device_);
}

std::string BatchDraws::source_of_nan(const DrawnBatch& drawn) const {
  const at::NoGradGuard no_grad;
  const TrainingBatch& batch = drawn.batch;
  const auto is_broken = [](const Tensor& tensor) { return tensor.defined() && !tensor.isfinite().all().item<bool>(); };
  const auto said = [](const ComponentConfig& component, const char* what) {
    return text("; ", error_prefix(component), what, " are not finite");
  };
  if (is_broken(batch.x0)) return said(options_.augmentation, "the augmented images");
  if (is_broken(batch.condition.augment)) return said(options_.augmentation, "the labels of the augmentation");
  if (is_broken(schedule_->network_time(batch.t))) return said(options_.noise, "the times that networks are given");
  const bool is_input_broken = is_broken(schedule_->network_input(batch.x_t, batch.t));
  return is_input_broken ? said(options_.noise, "the images that networks are given") : "";
}

void BatchDraws::observe(const StepRecord& record, const std::vector<std::string>& metrics) {
  if (!timesteps_) return;
  const at::NoGradGuard no_grad;
  std::vector<LossTerm> terms = record.loss_terms();
  for (const std::string& name : metrics) {
    const bool is_there = std::find(record.terms.begin(), record.terms.end(), name) != record.terms.end();
    if (!is_there) terms.push_back({name, at::zeros({record.t.size(0)}), 0, ""});
  }
  timesteps_.call(&TimestepSampler::observe, record.t, terms);
}

NamedTensors BatchDraws::state() const { return learned_.tensors(); }

}  // namespace casdm
