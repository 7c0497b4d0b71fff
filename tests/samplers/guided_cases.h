#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "casdm/beta_schedule.h"
#include "casdm/error.h"
#include "casdm/value.h"
#include "samplers/run_sampler.h"
#include "support/golden.h"

/// The cases of diffusion_steps.safetensors: guided-diffusion's GaussianDiffusion with a stand-in network.
namespace casdm::testing {

struct GuidedCase {
  std::string key;
  std::string mean;      ///< EPSILON, START_X
  std::string variance;  ///< FIXED_SMALL, FIXED_LARGE, LEARNED_RANGE
  std::string loss;      ///< MSE, RESCALED_MSE, KL, RESCALED_KL
  std::string respacing;
  std::shared_ptr<const BetaSchedule> schedule;
  std::vector<std::int64_t> t_mean;
  std::vector<std::int64_t> t_loss;

  bool learns_variance() const { return variance == "LEARNED_RANGE"; }
};

inline std::vector<std::int64_t> integers(const Value& array) {
  std::vector<std::int64_t> result;
  for (const Value& element : array.as_array()) result.push_back(element.as_integer());
  return result;
}

/// Returns `word`, which must be one of `choices`; throws Error otherwise, so that an unknown case cannot pass as
/// another.
inline std::string one_of(const std::string& word, const std::set<std::string>& choices, const std::string& what) {
  if (!choices.contains(word)) throw Error("a golden case has the " + what + " " + word + ", which ours cannot have");
  return word;
}

/// guided-diffusion's respacing; an empty one keeps every timestep.
inline std::string full_respacing(const std::string& respacing, std::int64_t num_train_timesteps) {
  return respacing.empty() ? std::to_string(num_train_timesteps) : respacing;
}

/// Throws Error for an unknown key or word.
inline GuidedCase guided_case(const Value& value) {
  static const std::set<std::string> known = {"key",       "mean", "variance", "loss",  "schedule",
                                              "respacing", "T",    "t_mean",   "t_loss"};
  for (const auto& [key, content] : value.as_table()) one_of(key, known, "key");
  const auto word = [&](const char* key) { return value.find(key)->as_string(); };
  const std::int64_t T = value.find("T")->as_integer();
  return {word("key"),
          one_of(word("mean"), {"EPSILON", "START_X"}, "mean"),
          one_of(word("variance"), {"FIXED_SMALL", "FIXED_LARGE", "LEARNED_RANGE"}, "variance"),
          value.find("loss") == nullptr ? "RESCALED_MSE"
                                        : one_of(word("loss"), {"MSE", "RESCALED_MSE", "KL", "RESCALED_KL"}, "loss"),
          full_respacing(word("respacing"), T),
          make_schedule(word("schedule"), T),
          integers(*value.find("t_mean")),
          integers(*value.find("t_loss"))};
}

/// The cases in a file; one that we cannot represent fails the test and is left out.
inline std::vector<GuidedCase> guided_cases(const GoldenFile& file) {
  std::vector<GuidedCase> cases;
  const Value all = from_json(file.metadata("cases"));
  for (const Value& value : all.as_array()) {
    try {
      cases.push_back(guided_case(value));
    } catch (const std::exception& error) {
      FAIL_CHECK(file.name(), ": ", std::string(error.what()));
    }
  }
  return cases;
}

/// Timesteps of the schedule that the case keeps, rising.
inline std::vector<std::int64_t> kept_timesteps(const GuidedCase& c) {
  std::vector<std::int64_t> kept;
  const auto sampler = make_sampler("ddim", "timestep_respacing = \"" + c.respacing + "\"", c.schedule);
  for (const SampleStep& step : sampler->plan()) kept.insert(kept.begin(), static_cast<std::int64_t>(step.t));
  return kept;
}

/// The stand-in network of tests/parity/README.md at original timesteps t: [B, 3 or 6, H, W].
inline Tensor guided_network(const GuidedCase& c, GoldenFile& file, const Tensor& x, const Tensor& t) {
  const std::int64_t channels = x.size(1) * (c.learns_variance() ? 2 : 1);
  const Tensor& field = file["input.field" + std::to_string(channels)];
  const Tensor wave = (t.to(x.scalar_type()) / 100).cos().reshape({-1, 1, 1, 1});
  return x.tanh().repeat({1, channels / x.size(1), 1, 1}) * wave * 0.5 + 0.3 * field.to(x.scalar_type());
}

/// The estimate of a head with that network.
inline EstimateFn guided_model(const GuidedCase& c, GoldenFile& file) {
  return [&](const Tensor& x_t, const Tensor& t) {
    const Tensor output = guided_network(c, file, x_t, t);
    const Tensor prediction = output.narrow(1, 0, x_t.size(1));
    Estimate estimate;
    if (c.mean == "EPSILON") {
      estimate = estimate_from_eps(*c.schedule, x_t, t, prediction);
    } else {
      estimate.x0 = prediction;
    }
    if (c.learns_variance()) estimate.variance = output.narrow(1, x_t.size(1), x_t.size(1));
    return estimate;
  };
}

}  // namespace casdm::testing
