#include "framework/sampling/generate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/device/device.h"
#include "framework/loading/plugin_call.h"
#include "framework/sampling/guidance.h"

namespace casdm {

namespace {

/// One generator an image, so that neither batch size nor neighbours change its noise.
class ImageNoise {
 public:
  explicit ImageNoise(const GenerateOptions& options) : options_(options) {
    for (std::int64_t i = 0; i < options.count; ++i) {
      generators_.push_back(
          make_generator(derive_seed(options.seed, "sample", static_cast<std::uint64_t>(options.first + i))));
    }
  }

  Tensor next() {
    const Tensor noise =
        at::empty({options_.count, options_.channels, options_.image_size, options_.image_size}, at::kFloat);
    for (std::int64_t i = 0; i < options_.count; ++i) noise[i].normal_(0, 1, generators_[static_cast<std::size_t>(i)]);
    return noise.to(options_.device);
  }

 private:
  const GenerateOptions& options_;
  std::vector<at::Generator> generators_;
};

}  // namespace

Tensor generate(const Model& model, const GenerateOptions& options) {
  at::NoGradGuard no_grad;
  for (const NamedModule& module : model.head->modules()) module.module->train(false);
  ImageNoise noise(options);
  Sampler& sampler = *model.sampler;
  sampler.start();
  const std::vector<SampleStep>& plan = sampler.plan();
  const Tensor labels = options.labels.defined() ? options.labels.to(options.device) : Tensor();
  Tensor x = noise.next() * sampler.initial_scale();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (options.is_cancelled && options.is_cancelled()) throw Error("sampling was interrupted");
    StepInput input;
    input.index = i;
    input.x_t = x;
    {
      const Autocast autocast(options.device, options.precision);
      const Tensor model_input = call_plugin(model.sampler_config, [&] { return sampler.model_input(x, i); });
      input.estimate =
          call_plugin(model.head_config, [&] { return guided_estimate(model, model_input, plan[i].t, labels); });
    }
    if (plan[i].needs_noise) input.noise = noise.next();
    x = call_plugin(model.sampler_config, [&] { return sampler.step(input); });
    if (options.on_step) options.on_step(i + 1, plan.size());
  }
  return x.to(at::kCPU, at::kFloat);
}

}  // namespace casdm
