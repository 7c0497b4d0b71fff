#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "samplers/guided_cases.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

std::string content(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The tables by guided-diffusion's names.
double table_entry(const BetaSchedule& s, const std::string& name, std::size_t i) {
  const double a = s.alphas_cumprod().at(i);
  const std::map<std::string, double> entries = {
      {"betas", s.betas()[i]},
      {"alphas_cumprod", a},
      {"alphas_cumprod_prev", s.alphas_cumprod_prev()[i]},
      {"alphas_cumprod_next", i + 1 < s.betas().size() ? s.alphas_cumprod()[i + 1] : 0.0},
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
  if (found == entries.end()) throw Error("no table corresponds to " + name);
  return found->second;
}

/// The kept timesteps, rising, for "T|respacing".
std::vector<std::int64_t> kept_timesteps(const std::string& spacing) {
  const std::size_t bar = spacing.find('|');
  if (bar == std::string::npos) throw Error("the name is not T|respacing");
  const std::int64_t T = std::stoll(spacing.substr(0, bar));
  GuidedCase c;
  c.respacing = full_respacing(spacing.substr(bar + 1), T);
  c.schedule = make_schedule("cosine", T);
  return testing::kept_timesteps(c);
}

void compare_spacing(const std::string& spacing, const Value& timesteps, const std::string& file) {
  std::vector<std::int64_t> expected;
  for (const Value& t : timesteps.as_array()) expected.push_back(t.as_integer());
  const std::vector<std::int64_t> kept = kept_timesteps(spacing);
  CHECK(kept == expected);
  measured({"ddim", "timesteps kept by timestep_respacing", "guided-diffusion", 0},
           peer_version({}, "guided-diffusion"), text(file, ": spacing ", spacing), kept == expected ? 0 : 1);
}

/// Tables of "linear_1000": {"betas": {"166": 0.0034}}. Both are float64, but the peer takes betas from 1 -
/// A_t/A_{t-1}, which cancels to about 1e-11.
void compare_tables(const std::string& key, const Value& tables, const std::string& file) {
  const std::size_t underscore = key.rfind('_');
  if (underscore == std::string::npos) throw Error("the name is not schedule_T");
  const std::string type = key.substr(0, underscore);
  const auto schedule = make_schedule(type, std::stoll(key.substr(underscore + 1)));
  for (const auto& [name, entries] : tables.as_table()) {
    double largest = 0;
    for (const auto& [index, value] : entries.as_table()) {
      const double expected = value.as_number();
      const double entry = table_entry(*schedule, name, static_cast<std::size_t>(std::stoull(index)));
      REQUIRE_MESSAGE(std::isfinite(entry), name, " ", index);
      if (entry != expected) largest = std::max(largest, std::abs(entry - expected) / std::abs(expected));
    }
    measured({type, "table " + name, "guided-diffusion", 1e-10}, peer_version({}, "guided-diffusion"),
             text(file, ": ", key, ".", name), largest);
  }
}

TEST_CASE("guided-diffusion: schedule tables and respacing") {
  for (const auto& path : golden_files("diffusion_tables", ".json")) {
    const std::string file = path.filename().string();
    const auto compare = [&](const auto& what, const std::string& key, const Value& value) {
      try {
        what(key, value, file);
      } catch (const std::exception& error) {
        FAIL_CHECK(file, ", ", key, ": ", std::string(error.what()));
      }
    };
    const Value golden = from_json(content(path));
    for (const auto& [key, tables] : golden.as_table()) {
      if (key == "peers") continue;
      if (key != "spacing") compare(compare_tables, key, tables);
      if (key != "spacing") continue;
      for (const auto& [spacing, timesteps] : tables.as_table()) compare(compare_spacing, spacing, timesteps);
    }
  }
}

}  // namespace
}  // namespace casdm
