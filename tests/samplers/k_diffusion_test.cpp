#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "samplers/run_sampler.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

/// Our sampler of the same steps.
const std::map<std::string, std::pair<std::string, std::string>>& samplers() {
  static const std::map<std::string, std::pair<std::string, std::string>> all = {
      {"sample_euler", {"euler", ""}},
      {"sample_heun", {"heun", ""}},
      {"sample_dpmpp_2m", {"dpmpp_2m", ""}},
      {"sample_dpmpp_2m_sde", {"dpmpp_2m_sde", ""}},
      {"sample_dpmpp_2m_sde-half", {"dpmpp_2m_sde", "eta = 0.5\n"}}};
  return all;
}

TEST_CASE("k-diffusion: its samplers on EDM's path, and between the timesteps of a table") {
  for (const auto& file_path : golden_files("k_diffusion", ".safetensors")) {
    GoldenFile file(file_path);
    for (const auto& [key, tensor] : file.tensors()) {
      if (key.starts_with("input.") || key.ends_with(".times")) continue;
      CAPTURE(key);
      const std::size_t first = key.find('.'), last = key.rfind('.');
      const auto found = samplers().find(key.substr(0, first));
      if (found == samplers().end()) {
        FAIL_CHECK("no sampler corresponds to ", key);
        continue;
      }
      const auto& [type, options] = found->second;
      const std::string path = key.substr(first + 1, last - first - 1);
      const std::shared_ptr<const NoiseScheduler> noise = make<NoiseScheduler>(path, "", {});
      const auto sampler = make_sampler(
          type, options + "clip = \"none\"\nspacing = \"karras\"\nnum_inference_steps = " + key.substr(last + 1),
          noise);
      std::vector<double> times;
      for (const SampleStep& step : sampler->plan()) times.push_back(step.t);
      // The peer computes its levels in float32.
      file.compare(at::tensor(times, at::kDouble), key + ".times",
                   {type, "times of evaluation, " + path, "k-diffusion", 1e-6});
      const Tensor x_T = file["input.x_T"];
      const Tensor x = run_sampler_with(*sampler, gaussian_model(noise), x_T,
                                        [&](std::size_t step) { return fill(1000 + step, x_T.sizes()); });
      file.compare(x, key, {type, "last sample of a chain, " + path, "k-diffusion", 1e-4});
    }
    file.finish({"", ".times"});
  }
}

}  // namespace
}  // namespace casdm
