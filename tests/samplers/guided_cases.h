#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/noise_scheduler.h"
#include "casdm/value.h"
#include "samplers/golden.h"
#include "samplers/run_sampler.h"

/// The cases of diffusion_steps.safetensors: guided-diffusion's GaussianDiffusion with a stand-in network.
namespace casdm::testing {

struct GuidedCase {
  std::string key;
  std::string mean;      ///< EPSILON, START_X
  std::string variance;  ///< FIXED_SMALL, FIXED_LARGE, LEARNED_RANGE
  std::string respacing;
  std::shared_ptr<const NoiseScheduler> schedule;
  std::vector<std::int64_t> t_mean;
  std::vector<std::int64_t> t_loss;

  bool learns_variance() const { return variance == "LEARNED_RANGE"; }
};

inline std::vector<std::int64_t> integers(const Value& array) {
  std::vector<std::int64_t> result;
  for (const Value& element : array.as_array()) result.push_back(element.as_integer());
  return result;
}

inline std::vector<GuidedCase> guided_cases(const GoldenFile& file) {
  std::vector<GuidedCase> cases;
  const Value all = from_json(file.metadata("cases"));
  for (const Value& value : all.as_array()) {
    const auto word = [&](const char* key) { return value.find(key)->as_string(); };
    cases.push_back({word("key"), word("mean"), word("variance"), word("respacing"),
                     make_schedule(word("schedule"), value.find("T")->as_integer()), integers(*value.find("t_mean")),
                     integers(*value.find("t_loss"))});
  }
  return cases;
}

/// The stand-in network of the parity README at original timesteps t: [B, 3 or 6, H, W].
inline Tensor guided_network(const GuidedCase& c, GoldenFile& file, const Tensor& x, const Tensor& t) {
  const std::int64_t channels = c.learns_variance() ? 6 : 3;
  const Tensor& field = file["input.field" + std::to_string(channels)];
  const Tensor wave = (t.to(x.scalar_type()) / 100).cos().reshape({-1, 1, 1, 1});
  return x.tanh().repeat({1, channels / 3, 1, 1}) * wave * 0.5 + 0.3 * field.to(x.scalar_type());
}

/// What a head makes of that network.
inline EstimateFn guided_model(const GuidedCase& c, GoldenFile& file) {
  return [&](const Tensor& x_t, const Tensor& t) {
    const Tensor output = guided_network(c, file, x_t, t);
    const Tensor prediction = output.narrow(1, 0, 3);
    Estimate estimate;
    if (c.mean == "EPSILON") {
      estimate = estimate_from_eps(*c.schedule, x_t, t, prediction);
    } else {
      estimate.x0 = prediction;
    }
    if (c.learns_variance()) estimate.variance = output.narrow(1, 3, 3);
    return estimate;
  };
}

}  // namespace casdm::testing
