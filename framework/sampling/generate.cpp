#include "framework/sampling/generate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/philox.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/composition/contract.h"
#include "framework/data/extras.h"
#include "framework/device/device.h"
#include "framework/loading/global_state.h"
#include "framework/loading/untouched.h"
#include "framework/sampling/guidance.h"

namespace casdm {

namespace {

/// The noise of a sampling: for each image a function of (seed, its index, the number of earlier draws) alone.
class ImageNoise {
 public:
  explicit ImageNoise(const GenerateOptions& options) : options_(options) {}

  Tensor next() {
    std::vector<std::uint64_t> seeds;
    for (std::int64_t i = 0; i < options_.count; ++i) {
      const auto image = static_cast<std::uint64_t>(options_.first + i);
      seeds.push_back(derive_seed(derive_seed(options_.seed, "sample", image), "draw", draws_));
    }
    draws_ += 1;
    const Tensor like = at::empty({options_.count, options_.channels, options_.image_size, options_.image_size},
                                  at::TensorOptions(at::kFloat).device(options_.device));
    return normal_like(like, seeds);
  }

 private:
  const GenerateOptions& options_;
  std::uint64_t draws_ = 0;
};

/// The names of the estimate's tensors that contain values that are not finite.
std::vector<std::string> broken_parts(const Estimate& estimate) {
  std::vector<std::string> names;
  const auto look = [&](const char* name, const Tensor& tensor) {
    if (tensor.defined() && !tensor.isfinite().all().item<bool>()) names.emplace_back(name);
  };
  look("eps", estimate.eps);
  look("x0_from_eps", estimate.x0_from_eps);
  look("x0", estimate.x0);
  look("gate", estimate.gate);
  look("variance", estimate.variance);
  return names;
}

/// Checks after each step whether images are finite. On a GPU it looks at the results only once, when it fetches the
/// images, so that no step waits.
class FiniteImages {
 public:
  FiniteImages(const Model& model, const GenerateOptions& options) : model_(model), first_(options.first) {}

  /// On the CPU, throws Error with the step and the first image.
  void look(const Tensor& x, const Estimate& estimate) {
    const Tensor is_finite = x.isfinite().flatten(1).all(1);
    if (!x.is_cpu()) {
      finite_.push_back(is_finite);
    } else {
      require(is_finite.logical_and(is_finite_estimate(estimate)).unsqueeze(0), estimate);
      ++looked_at_;
    }
  }

  /// The images after the last step, float32 on the CPU, in one copy. Throws Error with the first step and image that
  /// are not finite.
  Tensor fetched(const Tensor& x, const Estimate& estimate) const {
    if (finite_.empty()) return x.to(at::kCPU, at::kFloat);
    Tensor are_finite = at::stack(finite_);
    are_finite[-1].logical_and_(is_finite_estimate(estimate));
    const Tensor both = at::cat({are_finite.flatten().to(at::kFloat), x.flatten().to(at::kFloat)}).to(at::kCPU);
    require(both.narrow(0, 0, are_finite.numel()).view(are_finite.sizes()).to(at::kBool), estimate);
    return both.narrow(0, are_finite.numel(), x.numel()).view(x.sizes()).clone();
  }

 private:
  /// [B]. A sampler's clipping makes an infinite estimate black or white.
  static Tensor is_finite_estimate(const Estimate& estimate) {
    return (estimate.x0.defined() ? estimate.x0 : estimate.x0_from_eps).isfinite().flatten(1).all(1);
  }

  /// @param are_finite  bool [steps, count], for the steps from looked_at_ on
  /// @param estimate    of the last of these steps
  void require(const Tensor& are_finite, const Estimate& estimate) const {
    const Tensor broken = are_finite.logical_not().nonzero();
    if (broken.size(0) == 0) return;
    const auto step = static_cast<std::size_t>(broken[0][0].item<std::int64_t>());
    const bool is_last = static_cast<std::int64_t>(step) + 1 == are_finite.size(0);
    const std::string parts = is_last ? join(broken_parts(estimate), ", ") : "";
    const std::vector<SampleStep> plan = model_.sampler.call(&Sampler::plan);
    const std::size_t index = looked_at_ + step;
    throw Error(text(error_prefix(model_.sampler.config()), "image ", first_ + broken[0][1].item<std::int64_t>(),
                     " is not finite after step ", index + 1, " of ", plan.size(), " (t = ", plan[index].t, ")",
                     parts.empty() ? "" : text(", where the head's estimate is not finite in ", parts),
                     ". Look at the training's losses; other weights, more steps or less guidance may help"));
  }

  const Model& model_;
  std::int64_t first_;
  std::vector<Tensor> finite_;  ///< bool [count] on a GPU, for each step
  std::size_t looked_at_ = 0;   ///< steps checked on the CPU
};

/// The images of a sampling on their way from noise.
class Trajectory {
 public:
  Trajectory(const Model& model, const GenerateOptions& options)
      : model_(model),
        sampler_(model.sampler),
        options_(options),
        noise_(options),
        weights_(handles_of(model), Untouched::Compared::versions) {
    for (const NamedModule& module : model.modules) module.module->train(false);
    sampler_.call(&Sampler::start);
    plan_ = checked_plan(sampler_, model.schedule->range());
    if (options.labels.defined()) condition_.labels = to_device(options.labels, options.device);
    if (model.conditions) {
      condition_.extras = extras_of(*model.conditions, options.first, options.count);
      for (auto& [name, extra] : condition_.extras) extra = to_device(extra, options.device);
    }
    images_ = noise_.next() * checked_initial_scale(sampler_);
  }

  std::size_t steps() const { return plan_.size(); }
  const Tensor& images() const { return images_; }
  const Estimate& estimate() const { return input_.estimate; }  ///< of the last step

  /// Takes the step `i` of the plan: 0, then 1, ...
  void step(std::size_t i) {
    const CallTime time(text("sampling step ", i + 1, " of ", plan_.size(), ", t = ", plan_[i].t));
    input_ = StepInput();
    input_.index = i;
    input_.x_t = images_;
    input_.level = model_.schedule->level(plan_[i].t);
    input_.next_level = model_.schedule->level(plan_[i].t_next);
    const Untouched given({images_});
    {
      const Autocast autocast(options_.device, options_.precision);
      const Tensor model_input =
          checked_images(sampler_, sampler_.call(&Sampler::model_input, images_, i), images_, "model_input()");
      input_.estimate = guided_estimate(model_, model_input, plan_[i], condition_);
    }
    if (plan_[i].needs_noise) input_.noise = noise_.next();
    Tensor next = checked_images(sampler_, sampler_.call(&Sampler::step, input_), images_, "step()");
    given.check(sampler_, "the images x_t");
    if (!weights_.is_untouched()) {
      model_.head.fail("its networks' parameters or buffers were changed by sampling, which may be part of a training");
    }
    images_ = std::move(next);
    require_unchanged_state();
  }

 private:
  static std::vector<Tensor> handles_of(const Model& model) {
    std::vector<Tensor> handles;
    for (const NamedModule& module : model.modules) {
      for (const auto& [name, tensor] : state(*module.module)) handles.push_back(tensor);
    }
    return handles;
  }

  const Model& model_;
  const Component<Sampler>& sampler_;
  const GenerateOptions& options_;
  ImageNoise noise_;
  Untouched weights_;  ///< and buffers
  std::vector<SampleStep> plan_;
  Condition condition_;
  Tensor images_;
  StepInput input_;
};

}  // namespace

void try_first_step(const Model& model, const GenerateOptions& options) {
  const at::NoGradGuard no_grad;
  Trajectory(model, options).step(0);
}

Tensor generate(const Model& model, const GenerateOptions& options) {
  const at::NoGradGuard no_grad;
  Trajectory trajectory(model, options);
  FiniteImages finite(model, options);
  for (std::size_t i = 0; i < trajectory.steps(); ++i) {
    if (options.is_cancelled && options.is_cancelled()) throw SamplingCancelled("sampling was interrupted");
    trajectory.step(i);
    finite.look(trajectory.images(), trajectory.estimate());
    if (options.on_step) options.on_step(i + 1, trajectory.steps());
  }
  return finite.fetched(trajectory.images(), trajectory.estimate());
}

}  // namespace casdm
