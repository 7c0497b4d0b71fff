#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "casdm/value.h"
#include "samplers/golden.h"
#include "samplers/run_sampler.h"

namespace casdm {
namespace {

using namespace testing;

std::string content(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The tables by guided-diffusion's names.
double table_entry(const NoiseScheduler& s, const std::string& name, std::size_t i) {
  const double a = s.alphas_cumprod().at(i);
  const std::map<std::string, double> entries = {
      {"betas", s.betas()[i]},
      {"alphas_cumprod", a},
      {"alphas_cumprod_prev", s.alphas_cumprod_prev()[i]},
      {"posterior_variance", s.posterior_variance()[i]},
      {"posterior_log_variance_clipped", s.posterior_log_variance_clipped()[i]},
      {"posterior_mean_coef1", s.posterior_mean_coef1()[i]},
      {"posterior_mean_coef2", s.posterior_mean_coef2()[i]},
      {"sqrt_alphas_cumprod", std::sqrt(a)},
      {"sqrt_one_minus_alphas_cumprod", std::sqrt(1 - a)},
      {"log_one_minus_alphas_cumprod", std::log(1 - a)},
      {"sqrt_recip_alphas_cumprod", std::sqrt(1 / a)},
      {"sqrt_recipm1_alphas_cumprod", std::sqrt(1 / a - 1)},
  };
  const auto found = entries.find(name);
  REQUIRE_MESSAGE(found != entries.end(), "no table corresponds to ", name);
  return found->second;
}

/// Kept timesteps, rising, of "T|respacing".
std::vector<std::int64_t> kept_timesteps(const std::string& spacing) {
  const std::size_t bar = spacing.find('|');
  REQUIRE(bar != std::string::npos);
  const auto schedule = make_schedule("cosine", std::stoll(spacing.substr(0, bar)));
  std::vector<std::int64_t> kept;
  const auto sampler = make_sampler("ddim", "timestep_respacing = \"" + spacing.substr(bar + 1) + "\"", schedule);
  for (const SampleStep& step : sampler->plan()) kept.insert(kept.begin(), static_cast<std::int64_t>(step.t));
  return kept;
}

TEST_CASE("guided-diffusion: schedule tables and respacing") {
  for (const auto& path : golden_files("diffusion_tables", ".json")) {
    double largest = 0;
    std::string where;
    const Value golden = from_json(content(path));
    for (const auto& [key, tables] : golden.as_table()) {
      INFO(key);
      if (key == "spacing") {
        for (const auto& [spacing, timesteps] : tables.as_table()) {
          INFO(spacing);
          std::vector<std::int64_t> expected;
          for (const Value& t : timesteps.as_array()) expected.push_back(t.as_integer());
          CHECK(kept_timesteps(spacing) == expected);
        }
        continue;
      }
      const std::size_t underscore = key.rfind('_');
      REQUIRE(underscore != std::string::npos);
      const auto schedule = make_schedule(key.substr(0, underscore), std::stoll(key.substr(underscore + 1)));
      for (const auto& [name, entries] : tables.as_table()) {
        for (const auto& [index, value] : entries.as_table()) {
          INFO(name, "[", index, "]");
          const double entry = table_entry(*schedule, name, static_cast<std::size_t>(std::stoull(index)));
          const double difference = std::abs(entry - value.as_number()) / std::max(std::abs(value.as_number()), 1e-300);
          // Both are float64, but theirs take betas from 1 - A_t/A_{t-1}, which cancels to about 1e-11.
          CHECK((difference < 1e-10 || entry == value.as_number()));
          if (difference > largest && value.as_number() != 0) {
            largest = difference;
            where = key + "." + name + "[" + index + "]";
          }
        }
      }
    }
    MESSAGE(path.filename().string(), ": largest relative difference ", largest, " at ", where);
  }
}

}  // namespace
}  // namespace casdm
