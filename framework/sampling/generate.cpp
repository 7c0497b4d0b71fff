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
#include "framework/composition/untouched.h"
#include "framework/data/extras.h"
#include "framework/device/device.h"
#include "framework/loading/global_state.h"
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
      require(is_finite.unsqueeze(0), estimate);
      ++looked_at_;
    }
  }

  /// The images after the last step, float32 on the CPU, in one copy. Throws Error with the first step and image that
  /// are not finite.
  Tensor fetched(const Tensor& x, const Estimate& estimate) const {
    if (finite_.empty()) return x.to(at::kCPU, at::kFloat);
    const Tensor are_finite = at::stack(finite_);
    const Tensor both = at::cat({are_finite.flatten().to(at::kFloat), x.flatten().to(at::kFloat)}).to(at::kCPU);
    require(both.narrow(0, 0, are_finite.numel()).view(are_finite.sizes()).to(at::kBool), estimate);
    return both.narrow(0, are_finite.numel(), x.numel()).view(x.sizes()).clone();
  }

 private:
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

}  // namespace

Tensor generate(const Model& model, const GenerateOptions& options) {
  at::NoGradGuard no_grad;
  for (const NamedModule& module : model.modules) module.module->train(false);
  ImageNoise noise(options);
  FiniteImages finite(model, options);
  const Component<Sampler>& sampler = model.sampler;
  sampler.call(&Sampler::start);
  const std::vector<SampleStep> plan = checked_plan(sampler, model.schedule->range());
  Condition condition;
  if (options.labels.defined()) condition.labels = to_device(options.labels, options.device);
  if (model.conditions) {
    condition.extras = extras_of(*model.conditions, options.first, options.count);
    for (auto& [name, extra] : condition.extras) extra = to_device(extra, options.device);
  }
  Tensor x = noise.next() * checked_initial_scale(sampler);
  StepInput input;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const CallTime time(text("sampling step ", i + 1, " of ", plan.size(), ", t = ", plan[i].t));
    if (options.is_cancelled && options.is_cancelled()) throw SamplingCancelled("sampling was interrupted");
    input = StepInput();
    input.index = i;
    input.x_t = x;
    input.level = model.schedule->level(plan[i].t);
    input.next_level = model.schedule->level(plan[i].t_next);
    {
      const Autocast autocast(options.device, options.precision);
      const Tensor model_input = checked_images(sampler, sampler.call(&Sampler::model_input, x, i), x, "model_input()");
      input.estimate = guided_estimate(model, model_input, plan[i], condition);
    }
    if (plan[i].needs_noise) input.noise = noise.next();
    const Untouched given({x});
    Tensor next = checked_images(sampler, sampler.call(&Sampler::step, input), x, "step()");
    given.check(sampler, "the images x_t");
    x = std::move(next);
    require_unchanged_state();
    finite.look(x, input.estimate);
    if (options.on_step) options.on_step(i + 1, plan.size());
  }
  return finite.fetched(x, input.estimate);
}

}  // namespace casdm
