#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "samplers/guided_cases.h"
#include "samplers/run_sampler.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

// Agreement in float32: 1e-5 for one evaluation, 1e-4 for chains.
constexpr double kSingle = 1e-5;
constexpr double kChain = 1e-4;
constexpr double kTable = 1e-7;  // timesteps that the peer keeps in float32

/// Runs `check(case)` for each case in the files; an exception fails only that case.
template <class Check>
void for_each_case(GoldenFile& file, const Check& check) {
  for (const GuidedCase& c : guided_cases(file)) {
    try {
      check(c);
    } catch (const std::exception& error) {
      FAIL_CHECK(c.key, ": ", std::string(error.what()));
    }
  }
}

TEST_CASE("guided-diffusion: DDIM chains") {
  for (const auto& path : golden_files("diffusion_steps", ".safetensors")) {
    GoldenFile file(path);
    for_each_case(file, [&](const GuidedCase& c) {
      const auto sampler = make_sampler("ddim", "timestep_respacing = \"" + c.respacing + "\"", c.schedule);
      file.compare(run_sampler(*sampler, guided_model(c, file), file["input.x_T"]), c.key + ".ddim",
                   {"ddim", "last sample of a chain", "guided-diffusion", kChain});
    });
    file.finish({".ddim"});
  }
}

/// Means, variances and clean images of the DDPM steps t_mean[b] from x_T[b], obtained from the sampler with noise 0
/// and 1. In double precision, since the variance is a small difference of the two.
class PMeanVariance {
 public:
  PMeanVariance(const GuidedCase& c, GoldenFile& file)
      : case_(c),
        schedule_(respaced(*c.schedule, kept_timesteps(c))),
        sampler_(make_sampler(
            "ddpm", text("timestep_respacing = \"", c.respacing, "\"\nvariance = \"", names().at(c.variance), "\""),
            c.schedule)) {
    const EstimateFn model = guided_model(c, file);
    std::vector<Tensor> means, log_variances, images;
    for (std::size_t b = 0; b < c.t_mean.size(); ++b) {
      const auto row = static_cast<std::size_t>(c.t_mean[b]);
      const std::size_t index = sampler_->plan().size() - 1 - row;
      const Tensor x_t = file["input.x_T"].narrow(0, static_cast<std::int64_t>(b), 1).to(at::kDouble);
      const Estimate estimate = model(x_t, at::full({1}, sampler_->plan().at(index).t, at::kDouble));
      means.push_back(run_step(*sampler_, index, model, x_t, at::zeros_like(x_t)));
      images.push_back(mixed_x0(estimate, Clip::each));
      if (sampler_->plan()[index].needs_noise) {
        const Tensor deviation = run_step(*sampler_, index, model, x_t, at::ones_like(x_t)) - means.back();
        log_variances.push_back(deviation.square().log());
      } else {
        log_variances.push_back(last_log_variance(estimate, row).expand_as(x_t));
      }
    }
    mean = at::cat(means);
    log_variance = at::cat(log_variances);
    variance = log_variance.exp();
    for (std::size_t b = 0; b < c.t_mean.size(); ++b) {
      // There the peer's variance is exactly 0, and only its logarithm is clipped.
      if (c.t_mean[b] == 0 && c.variance == "FIXED_SMALL") variance[static_cast<std::int64_t>(b)].zero_();
    }
    x0 = at::cat(images);
  }

  Tensor mean, variance, log_variance, x0;

 private:
  static const std::map<std::string, std::string>& names() {
    static const std::map<std::string, std::string> all = {
        {"FIXED_SMALL", "fixed_small"}, {"FIXED_LARGE", "fixed_large"}, {"LEARNED_RANGE", "learned_range"}};
    return all;
  }

  /// For the last step, where the sampler draws no noise: computed from the schedule's tables.
  Tensor last_log_variance(const Estimate& estimate, std::size_t row) const {
    const double small = schedule_.posterior_log_variance_clipped()[row];
    if (!case_.learns_variance()) return at::full({1, 1, 1, 1}, small, at::kDouble);
    const Tensor part = (estimate.variance + 1) / 2;
    return part * std::log(schedule_.betas()[row]) + (1 - part) * small;
  }

  const GuidedCase& case_;
  BetaSchedule schedule_;
  std::shared_ptr<Sampler> sampler_;
};

TEST_CASE("guided-diffusion: p_mean_variance with fixed and learned variance") {
  for (const auto& path : golden_files("diffusion_steps", ".safetensors")) {
    GoldenFile file(path);
    for_each_case(file, [&](const GuidedCase& c) {
      const PMeanVariance p(c, file);
      const auto compare = [&](const Tensor& ours, const char* name, const std::string& quantity) {
        file.compare(ours, c.key + ".p." + name, {"ddpm", quantity, "guided-diffusion", kSingle});
      };
      const std::string kind = c.learns_variance() ? "learned" : c.variance == "FIXED_SMALL" ? "beta~" : "beta";
      compare(p.mean, "mean", "mean of a step");
      compare(p.variance, "variance", "variance of a step, " + kind);
      compare(p.log_variance, "log_variance", "log variance of a step, " + kind);
      compare(p.x0, "pred_xstart", "clean image of a step");
    });
    file.finish({".p.mean", ".p.variance", ".p.log_variance", ".p.pred_xstart"});
  }
}

/// Our name and options for a scheduler class of diffusers with the options of tests/parity/README.md.
std::pair<std::string, std::string> ours(const std::string& scheduler) {
  const std::map<std::string, std::pair<std::string, std::string>> names = {
      {"DDIMScheduler", {"ddim", "previous = \"stride\"\n"}},
      {"DPMSolverMultistepScheduler", {"dpmpp_2m", ""}},
      {"DPMSolverMultistepScheduler-sde", {"dpmpp_2m_sde", ""}},
      {"UniPCMultistepScheduler", {"unipc", "order = 2\n"}},
      {"UniPCMultistepScheduler-order3", {"unipc", "order = 3\n"}},
      {"HeunDiscreteScheduler", {"heun", ""}},
      {"EulerDiscreteScheduler", {"euler", ""}}};
  const auto found = names.find(scheduler);
  if (found == names.end()) throw Error("no sampler corresponds to " + scheduler);
  return found->second;
}

/// The noise of step i in goldens of stochastic samplers.
Tensor golden_noise(std::size_t step, at::IntArrayRef shape) { return fill(1000 + step, shape); }

/// Compares a golden named {class}.{spacing}.{n}, such as "DDIMScheduler.trailing.25".
void compare_sampler(const std::string& key, GoldenFile& file) {
  const std::size_t first = key.find('.');
  const std::size_t last = key.rfind('.');
  if (first == std::string::npos || first == last) throw Error("the name is not {class}.{spacing}.{steps}");
  const auto schedule = make_schedule("linear", 1000);
  const auto& [type, options] = ours(key.substr(0, first));
  const auto sampler =
      make_sampler(type,
                   options + "clip = \"none\"\nspacing = \"" + key.substr(first + 1, last - first - 1) +
                       "\"\nnum_inference_steps = " + key.substr(last + 1),
                   schedule);
  std::vector<double> times;
  for (const SampleStep& step : sampler->plan()) times.push_back(step.t);
  file.compare(at::tensor(times, at::kDouble), key + ".timesteps", {type, "timesteps", "diffusers", kTable});
  const Tensor x_T = file["input.x_T"];
  const Tensor x = run_sampler_with(*sampler, gaussian_model(schedule), x_T,
                                    [&](std::size_t step) { return golden_noise(step, x_T.sizes()); });
  file.compare(x, key, {type, "last sample of a chain", "diffusers", kChain});
}

/// For a scheduler of diffusers on a path without timesteps: our sampler and path with the same steps.
struct PathSampler {
  std::string type, options, path, path_options;
};

const std::map<std::string, PathSampler>& path_samplers() {
  static const std::string linspace = "spacing = \"linspace\"\n", karras = "spacing = \"karras\"\n";
  static const std::map<std::string, PathSampler> all = {
      {"FlowMatchEulerDiscreteScheduler", {"euler", linspace, "flow", ""}},
      // The peer also shifts its least noise, and once more with all other times: 0.003 / 1.002.
      {"FlowMatchEulerDiscreteScheduler-shift3",
       {"euler", linspace, "flow", "shift = 3.0\nt_min = 0.002994011976047904\n"}},
      {"FlowMatchHeunDiscreteScheduler", {"heun", linspace, "flow", ""}},
      {"EDMEulerScheduler", {"euler", karras, "edm", ""}},
      {"EDMDPMSolverMultistepScheduler", {"dpmpp_2m", karras, "edm", ""}},
      {"EDMDPMSolverMultistepScheduler-sde", {"dpmpp_2m_sde", karras, "edm", ""}}};
  return all;
}

TEST_CASE("diffusers: samplers on a rectified flow and on EDM's path") {
  for (const auto& path : golden_files("diffusers_paths", ".safetensors")) {
    GoldenFile file(path);
    for (const auto& [key, tensor] : file.tensors()) {
      if (key.starts_with("input.") || key.ends_with(".sigmas")) continue;
      CAPTURE(key);
      const auto found = path_samplers().find(key.substr(0, key.find('.')));
      if (found == path_samplers().end()) {
        FAIL_CHECK("no sampler corresponds to ", key);
        continue;
      }
      const PathSampler& ours = found->second;
      const std::shared_ptr<const NoiseScheduler> noise = make<NoiseScheduler>(ours.path, ours.path_options, {});
      const auto sampler = make_sampler(
          ours.type, ours.options + "clip = \"none\"\nnum_inference_steps = " + key.substr(key.find('.') + 1), noise);
      std::vector<double> sigmas;
      for (const SampleStep& step : sampler->plan()) sigmas.push_back(noise->level(step.t).sigma);
      // The peer computes its levels in float32.
      file.compare(at::tensor(sigmas, at::kDouble), key + ".sigmas",
                   {ours.type, "noise levels, " + ours.path, "diffusers", 1e-6});
      const Tensor x_T = file["input.x_T"];
      const Tensor x = run_sampler_with(*sampler, gaussian_model(noise), x_T,
                                        [&](std::size_t step) { return golden_noise(step, x_T.sizes()); });
      file.compare(x, key, {ours.type, "last sample of a chain, " + ours.path, "diffusers", kChain});
    }
    file.finish({"", ".sigmas"});
  }
}

TEST_CASE("every golden file in the folder is read by a suite") {
  const std::vector<std::string> read_by_suites = {
      "adm_",       "diffusion_tables", "diffusion_steps", "diffusers_samplers", "metrics",
      "optimizers", "edm_augmentation", "diffusers_dit",   "diffusers_paths",    "diffusers_unet",
      "dists",      "set_metrics",      "resampling",      "efficientnet_lite",  "inception",
      "dinov2",     "k_diffusion"};
  for (const auto& entry : std::filesystem::directory_iterator(parity_dir())) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".safetensors" && entry.path().extension() != ".json") continue;
    const bool is_read = std::any_of(read_by_suites.begin(), read_by_suites.end(),
                                     [&](const std::string& prefix) { return name.starts_with(prefix); });
    CHECK_MESSAGE(is_read, name << " is read by no suite");
  }
}

TEST_CASE("diffusers: the chains and timesteps of its samplers") {
  for (const auto& path : golden_files("diffusers_samplers", ".safetensors")) {
    GoldenFile file(path);
    for (const auto& [key, tensor] : file.tensors()) {
      if (key.ends_with(".timesteps") || key.starts_with("input.")) continue;
      INFO(key);
      try {
        compare_sampler(key, file);
      } catch (const std::exception& error) {
        FAIL_CHECK(key, ": ", std::string(error.what()));
      }
    }
    file.finish({""});
  }
}

}  // namespace
}  // namespace casdm
