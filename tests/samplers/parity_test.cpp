#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>

#include "samplers/golden.h"
#include "samplers/guided_cases.h"
#include "samplers/run_sampler.h"

namespace casdm {
namespace {

using namespace testing;

// Agreement in float32: 1e-5 for one evaluation, 1e-4 for chains.
constexpr double kSingle = 1e-5;
constexpr double kChain = 1e-4;

TEST_CASE("guided-diffusion: DDIM chains") {
  for (const auto& path : golden_files("diffusion_steps", ".safetensors")) {
    GoldenFile file(path);
    for (const GuidedCase& c : guided_cases(file)) {
      const auto sampler = make_sampler("ddim", "timestep_respacing = \"" + c.respacing + "\"", c.schedule);
      file.compare(run_sampler(*sampler, guided_model(c, file), file["input.x_T"]), c.key + ".ddim", kChain);
    }
    file.finish({".ddim"});
  }
}

/// Means, variances and clean images of the DDPM steps t_mean[b] from x_T[b], read off the sampler by
/// the noise 0 and 1. In double precision, as the variance is a small difference of the two.
struct PMeanVariance {
  Tensor mean;
  Tensor variance;
  Tensor x0;

  PMeanVariance(const GuidedCase& c, GoldenFile& file) {
    const std::map<std::string, std::string> names = {
        {"FIXED_SMALL", "fixed_small"}, {"FIXED_LARGE", "fixed_large"}, {"LEARNED_RANGE", "learned_range"}};
    const auto sampler = make_sampler(
        "ddpm", "timestep_respacing = \"" + c.respacing + "\"\nvariance = \"" + names.at(c.variance) + "\"",
        c.schedule);
    const EstimateFn model = guided_model(c, file);
    std::vector<Tensor> means;
    std::vector<Tensor> variances;
    std::vector<Tensor> images;
    for (std::size_t b = 0; b < c.t_mean.size(); ++b) {
      const std::size_t index = sampler->plan().size() - 1 - static_cast<std::size_t>(c.t_mean[b]);
      REQUIRE_MESSAGE(sampler->plan()[index].needs_noise, "the last step has no variance to read off");
      const Tensor x_t = file["input.x_T"].narrow(0, static_cast<std::int64_t>(b), 1).to(at::kDouble);
      means.push_back(run_step(*sampler, index, model, x_t, at::zeros_like(x_t)));
      variances.push_back((run_step(*sampler, index, model, x_t, at::ones_like(x_t)) - means.back()).square());
      images.push_back(mixed_x0(model(x_t, at::full({1}, sampler->plan()[index].t, at::kDouble)), Clip::each));
    }
    mean = at::cat(means);
    variance = at::cat(variances);
    x0 = at::cat(images);
  }
};

TEST_CASE("guided-diffusion: p_mean_variance with fixed and learned variance") {
  for (const auto& path : golden_files("diffusion_steps", ".safetensors")) {
    GoldenFile file(path);
    for (const GuidedCase& c : guided_cases(file)) {
      const PMeanVariance p(c, file);
      file.compare(p.mean, c.key + ".p.mean", kSingle);
      file.compare(p.variance, c.key + ".p.variance", kSingle);
      file.compare(p.variance.log(), c.key + ".p.log_variance", kSingle);
      file.compare(p.x0, c.key + ".p.pred_xstart", kSingle);
    }
    file.finish({".p.mean", ".p.variance", ".p.log_variance", ".p.pred_xstart"});
  }
}

/// Our name and options for a scheduler class of diffusers with the options of the parity README.
std::pair<std::string, std::string> ours(const std::string& scheduler) {
  const std::map<std::string, std::pair<std::string, std::string>> names = {
      {"DDIMScheduler", {"ddim", "previous = \"stride\"\n"}},
      {"DPMSolverMultistepScheduler", {"dpmpp_2m", ""}},
      {"UniPCMultistepScheduler", {"unipc", "order = 2\n"}},
      {"HeunDiscreteScheduler", {"heun", ""}},
      {"EulerDiscreteScheduler", {"euler", ""}}};
  const auto found = names.find(scheduler);
  REQUIRE_MESSAGE(found != names.end(), "no sampler corresponds to ", scheduler);
  return found->second;
}

TEST_CASE("diffusers: chains and timesteps of its samplers") {
  for (const auto& path : golden_files("diffusers_samplers", ".safetensors")) {
    GoldenFile file(path);
    const auto schedule = make_schedule("linear", 1000);
    for (const auto& [key, tensor] : file.tensors()) {
      if (key.ends_with(".timesteps") || key.starts_with("input.")) continue;
      INFO(key);
      const std::size_t first = key.find('.');
      const std::size_t last = key.rfind('.');
      REQUIRE((first != std::string::npos && first < last));
      const auto& [type, options] = ours(key.substr(0, first));
      const auto sampler =
          make_sampler(type,
                       options + "clip = \"none\"\nspacing = \"" + key.substr(first + 1, last - first - 1) +
                           "\"\nnum_inference_steps = " + key.substr(last + 1),
                       schedule);
      std::vector<double> times;
      for (const SampleStep& step : sampler->plan()) times.push_back(step.t);
      file.compare(at::tensor(times, at::kDouble), key + ".timesteps", 1e-7);  // theirs are float32
      const Tensor x = run_sampler(*sampler, gaussian_model(schedule), file["input.x_T"]);
      MESSAGE(key, ": ", max_relative_difference(x, tensor));
      file.compare(x, key, kChain);
    }
    file.finish({""});
  }
}

}  // namespace
}  // namespace casdm
