#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "samplers/run_sampler.h"

namespace casdm {
namespace {

using namespace testing;

struct Expected {
  std::string schedule;
  std::int64_t count;
  std::string sampler;
  std::string options;
  double mean;
  double variance;
};

TEST_CASE("oracle 6: 1e5 samples of Gaussian data have the known mean and variance") {
  const std::string small = "variance = \"fixed_small\"\n";
  const std::string large = "variance = \"fixed_large\"\n";
  // For schedules without a given mean, it is .3 to within .0007.
  const std::vector<Expected> expected = {
      {"linear", 100, "ddpm", small, .30000, .21923}, {"linear", 100, "ddpm", large, .30000, .25778},
      {"linear", 100, "ddim", "", .29934, .23605},    {"linear", 1000, "ddpm", small, .3, .24613},
      {"linear", 1000, "ddpm", large, .3, .25075},    {"linear", 1000, "ddim", "", .3, .24850},
      {"cosine", 100, "ddpm", small, .3, .23275},     {"cosine", 100, "ddpm", large, .3, .25401},
      {"cosine", 100, "ddim", "", .3, .24219},
  };
  constexpr std::int64_t kSamples = 100000;
  const Tensor x_T = at::empty({kSamples, 1, 1, 1}).normal_(0, 1, make_generator(derive_seed(0, "oracle 6")));
  for (const Expected& e : expected) {
    INFO(e.schedule, " ", e.count, " ", e.sampler, " ", e.options);
    const auto schedule = make_schedule(e.schedule, e.count);
    const auto sampler = make_sampler(
        e.sampler, e.options + "clip = \"none\"\nnum_inference_steps = " + std::to_string(e.count), schedule);
    const Tensor samples = run_sampler(*sampler, gaussian_model(schedule), x_T, 1).to(at::kDouble);
    const double mean = samples.mean().item<double>();
    const double variance = samples.var().item<double>();
    MESSAGE(e.schedule, " ", e.count, " ", e.sampler, ": mean ", mean, ", variance ", variance);
    // Four standard errors.
    CHECK(std::abs(mean - e.mean) < 4 * std::sqrt(e.variance / kSamples));
    CHECK(std::abs(variance - e.variance) < 4 * e.variance * std::sqrt(2.0 / kSamples));
  }
}

}  // namespace
}  // namespace casdm
