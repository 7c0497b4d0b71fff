#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "casdm/error.h"
#include "samplers/run_sampler.h"

namespace casdm {
namespace {

using namespace testing;

struct Named {
  std::string type;
  std::string options;
  bool is_stochastic = false;
};

/// Every sampler, and every option that changes its formulas, at `steps` steps.
std::vector<Named> all_samplers(int steps) {
  const std::string n = "num_inference_steps = " + std::to_string(steps) + "\nclip = \"none\"\n";
  return {{"ddpm", n, true},
          {"ddpm", n + "variance = \"fixed_small\"\nspacing = \"trailing\"", true},
          {"ddim", n},
          {"ddim", n + "spacing = \"trailing\""},
          {"ddim", n + "eta = 1.0", true},
          {"dpmpp_2m", n},
          {"dpmpp_2m", n + "spacing = \"karras\""},
          {"dpmpp_2m_sde", n, true},
          {"dpmpp_2m_sde", n + "eta = 0.5", true},
          {"unipc", n},
          {"unipc", n + "order = 3\nvariant = \"bh1\""},
          {"unipc", n + "order = 3\ncorrector = false"},
          {"unipc", n + "order = 1\nspacing = \"karras\""},
          {"euler", n},
          {"euler", n + "spacing = \"linspace\""},
          {"heun", n},
          {"heun", n + "spacing = \"leading\""}};
}

/// Counts the bytes of tensors that live on this thread.
struct LiveBytes : c10::MemoryReportingInfoBase {
  std::int64_t bytes = 0;

  void reportMemoryUsage(void* /*ptr*/, std::int64_t size, std::size_t /*allocated*/, std::size_t /*reserved*/,
                         c10::Device /*device*/) override {
    bytes += size;
  }
  bool memoryProfilingEnabled() const override { return true; }
};

Tensor starting_noise(at::ScalarType type = at::kDouble) {
  return at::empty({2, 3, 4, 4}, at::kDouble).normal_(0, 1, make_generator(7)).to(type);
}

TEST_CASE("a plan goes down in time, ends at the clean image, and draws no noise there") {
  const auto schedule = make_schedule("linear", 100);
  for (const Named& named : all_samplers(10)) {
    INFO(named.type, " ", named.options);
    const auto sampler = make_sampler(named.type, named.options, schedule);
    const auto& plan = sampler->plan();
    REQUIRE(plan.size() >= 10);
    CHECK(plan.front().needs_noise == named.is_stochastic);
    CHECK(plan.back().t_next == -1);
    CHECK_FALSE(plan.back().needs_noise);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      CHECK(plan[i].t <= 99);
      CHECK(plan[i].t >= 0);
      CHECK(plan[i].t_next <= plan[i].t);
      if (i > 0) CHECK(plan[i].t == plan[i - 1].t_next);
    }
  }
}

TEST_CASE("samples keep shape and dtype, repeat with their seed, and do not depend on the last trajectory") {
  const auto schedule = make_schedule("cosine", 100);
  for (const Named& named : all_samplers(7)) {
    INFO(named.type, " ", named.options);
    const auto sampler = make_sampler(named.type, named.options, schedule);
    for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
      const EstimateFn model = gaussian_model(schedule);
      const Tensor x_T = starting_noise(type);
      const Tensor first = run_sampler(*sampler, model, x_T, 1);
      CHECK(first.sizes() == x_T.sizes());
      CHECK((first.scalar_type() == type));
      CHECK(first.isfinite().all().item<bool>());
      run_sampler(*sampler, model, -x_T, 5);
      CHECK(run_sampler(*sampler, model, x_T, 1).equal(first));
      CHECK(run_sampler(*sampler, model, x_T, 2).equal(first) != named.is_stochastic);
    }
  }
}

TEST_CASE("a sampler keeps as much memory in the middle of a long trajectory as near its start") {
  const auto schedule = make_schedule("linear", 100);
  for (const Named& named : all_samplers(40)) {
    INFO(named.type, " ", named.options);
    const auto sampler = make_sampler(named.type, named.options, schedule);
    const auto counted = std::make_shared<LiveBytes>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counted);
    std::vector<std::int64_t> bytes;
    const EstimateFn model = gaussian_model(schedule);
    run_sampler(
        *sampler,
        [&](const Tensor& x_t, const Tensor& t) {
          bytes.push_back(counted->bytes);
          return model(x_t, t);
        },
        starting_noise());
    CHECK(bytes.at(10) > 0);
    CHECK(bytes.at(30) == bytes.at(10));
  }
}

TEST_CASE("the images of a batch do not influence each other") {
  const auto schedule = make_schedule("linear", 100);
  for (const Named& named : all_samplers(5)) {
    INFO(named.type, " ", named.options);
    const auto sampler = make_sampler(named.type, named.options + "\n", schedule);
    const Tensor x_T = starting_noise();
    Tensor changed = x_T.clone();
    changed[1] *= 3;
    const Tensor a = run_sampler(*sampler, gaussian_model(schedule), x_T);
    const Tensor b = run_sampler(*sampler, gaussian_model(schedule), changed);
    CHECK(a[0].equal(b[0]));
    CHECK_FALSE(a[1].equal(b[1]));
  }
}

TEST_CASE("oracle 5: with the exact noise of one image, respaced sampling ends at that image, for any gate") {
  const Tensor x0 = fill(11, {2, 3, 4, 4}).to(at::kDouble);
  const Tensor gate = fill(12, {2, 1, 4, 4}).to(at::kDouble) * 0.5 + 0.5;
  for (const std::string type : {"linear", "cosine"}) {
    const auto schedule = make_schedule(type, 100);
    const EstimateFn exact = single_image_model(schedule, x0);
    const EstimateFn with_identity_phi = [&](const Tensor& x_t, const Tensor& t) {
      Estimate estimate = exact(x_t, t);
      estimate.x0 = estimate.x0_from_eps;
      estimate.gate = gate;
      return estimate;
    };
    for (const Named& named : all_samplers(10)) {
      INFO(type, " ", named.type, " ", named.options);
      const auto sampler = make_sampler(named.type, named.options, schedule);
      CHECK(max_relative_difference(run_sampler(*sampler, exact, starting_noise()), x0) < 1e-11);
      CHECK(max_relative_difference(run_sampler(*sampler, with_identity_phi, starting_noise()), x0) < 1e-11);
    }
  }
}

TEST_CASE("oracle 3: gate 0 is bitwise the eps sampler, gate 1 the x0 sampler, one half their mean") {
  const auto schedule = make_schedule("linear", 100);
  const Tensor x_T = starting_noise(at::kFloat);
  const Tensor phi = fill(13, x_T.sizes());
  const EstimateFn eps_model = gaussian_model(schedule);
  const auto gated = [&](double gate) -> EstimateFn {
    return [&, gate](const Tensor& x_t, const Tensor& t) {
      Estimate estimate = eps_model(x_t, t);
      estimate.x0 = at::tanh(estimate.x0_from_eps + phi);
      estimate.gate = at::full({2, 1, 4, 4}, gate, x_t.options());
      return estimate;
    };
  };
  const EstimateFn x0_model = [&](const Tensor& x_t, const Tensor& t) {
    Estimate estimate = gated(1)(x_t, t);
    estimate.gate.reset();
    estimate.x0_from_eps.reset();
    return estimate;
  };
  for (const std::string clip : {"none", "each", "mixed"}) {
    for (Named& named : all_samplers(6)) {
      named.options.replace(named.options.find("\"none\""), 6, "\"" + clip + "\"");
      INFO(named.type, " ", named.options);
      const auto sampler = make_sampler(named.type, named.options, schedule);
      CHECK(run_sampler(*sampler, gated(0), x_T).equal(run_sampler(*sampler, eps_model, x_T)));
      if (std::floor(sampler->plan()[1].t) ==
          sampler->plan()[1].t) {  // else x0* is re-derived, and eps does not belong to x0
        CHECK(run_sampler(*sampler, gated(1), x_T).equal(run_sampler(*sampler, x0_model, x_T)));
      }
      if (clip == "mixed") continue;  // clipping the mixture is not linear
      const Tensor x_t = x_T * sampler->initial_scale();
      const Tensor noise = fill(14, x_T.sizes());
      const auto step = [&](const EstimateFn& model) {
        sampler->start();
        return run_step(*sampler, 0, model, x_t, noise);
      };
      CHECK(max_relative_difference(step(gated(0.5)), (step(gated(0)) + step(gated(1))) / 2) < 1e-6);
    }
  }
}

TEST_CASE("oracle 4: with one timestep a step returns the mixture") {
  const auto schedule = make_schedule("linear", 1, "scale_with_timesteps = false");
  Estimate estimate;
  estimate.x0_from_eps = fill(1, {2, 3, 4, 4}).to(at::kDouble);
  estimate.x0 = fill(2, {2, 3, 4, 4}).to(at::kDouble);
  estimate.gate = fill(3, {2, 1, 4, 4}).to(at::kDouble) * 0.5 + 0.5;
  estimate.eps = schedule->predict_eps_from_x0(starting_noise(), at::zeros({2}, at::kLong), estimate.x0_from_eps);
  const Tensor mixture = mixed_x0(estimate, Clip::each);
  for (const std::string type : {"ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "euler", "heun"}) {
    CAPTURE(type);
    const bool has_karras = type == "euler" || type == "heun";
    const std::string options = "num_inference_steps = 1\n" + std::string(has_karras ? "spacing = \"trailing\"" : "");
    const auto sampler = make_sampler(type, options, schedule);
    REQUIRE(sampler->plan().size() == 1);
    CHECK(max_relative_difference(sampler->step({0, starting_noise(), estimate, {}}), mixture) < 1e-14);
  }
}

/// Output mean and variance of a sampler on Gaussian pixels from N(0, 1). The output is linear in x_T and in every
/// step's noise, so one trajectory for each of these gives the moments exactly.
std::pair<double, double> exact_moments(Sampler& sampler, const EstimateFn& model) {
  const auto steps = static_cast<std::int64_t>(sampler.plan().size());
  const Tensor unit = at::eye(steps + 2, at::kDouble);
  Tensor x = unit[0].reshape({-1, 1, 1, 1}) * sampler.initial_scale();
  sampler.start();
  for (std::int64_t i = 0; i < steps; ++i) {
    x = run_step(sampler, static_cast<std::size_t>(i), model, x, unit[i + 1].reshape({-1, 1, 1, 1}));
  }
  const double mean = x[steps + 1].item<double>();  // all inputs were zero
  return {mean, (x - mean).square().sum().item<double>()};
}

TEST_CASE("oracle 6: on Gaussian data the output has the known mean and variance") {
  struct Expected {
    std::string schedule;
    std::int64_t count;
    std::string sampler;
    std::string options;
    double variance;
  };
  const std::string small = "variance = \"fixed_small\"\n";
  const std::string large = "variance = \"fixed_large\"\n";
  const std::vector<Expected> expected = {
      {"linear", 100, "ddpm", small, .21923},  {"linear", 100, "ddpm", large, .25778},
      {"linear", 100, "ddim", "", .23605},     {"linear", 1000, "ddpm", small, .24613},
      {"linear", 1000, "ddpm", large, .25075}, {"linear", 1000, "ddim", "", .24850},
      {"cosine", 100, "ddpm", small, .23275},  {"cosine", 100, "ddpm", large, .25401},
      {"cosine", 100, "ddim", "", .24219},
  };
  for (const Expected& e : expected) {
    INFO(e.schedule, " ", e.count, " ", e.sampler, " ", e.options);
    const auto schedule = make_schedule(e.schedule, e.count);
    const auto sampler = make_sampler(
        e.sampler, e.options + "clip = \"none\"\nnum_inference_steps = " + std::to_string(e.count), schedule);
    const auto [mean, variance] = exact_moments(*sampler, gaussian_model(schedule));
    CHECK(std::abs(variance - e.variance) < 6e-6);  // half a unit of the given digits, and rounding
    if (e.schedule == "linear" && e.count == 100) {
      CHECK(std::abs(mean - (e.sampler == "ddim" ? .29934 : .30000)) < 6e-6);
    }
  }
}

TEST_CASE("more steps come closer to the data, and higher orders faster") {
  const auto schedule = make_schedule("linear", 1000);
  const EstimateFn model = gaussian_model(schedule);
  // The exact flow takes x_T at noise-to-signal sigma to mean + (x - mean) sqrt(v / (v + sigma^2)) in x0 + sigma eps.
  const double a = schedule->alphas_cumprod().back();
  const double sigma_squared = (1 - a) / a;
  const Tensor x_T = starting_noise();
  const auto error = [&](const std::string& type, int steps) {
    const auto sampler = make_sampler(
        type, "clip = \"none\"\nspacing = \"karras\"\nnum_inference_steps = " + std::to_string(steps), schedule);
    const Tensor start = sampler->initial_scale() > 1 ? x_T * sampler->initial_scale() : x_T / std::sqrt(a);
    const Tensor exact = 0.3 + (start - 0.3) * std::sqrt(0.25 / (0.25 + sigma_squared));
    return (run_sampler(*sampler, model, x_T) - exact).abs().max().item<double>();
  };
  // When the number of steps doubles, order p divides the error by 2^p; a little less is required, as 20 steps are few.
  CHECK(error("euler", 20) / error("euler", 40) > 1.8);
  CHECK(error("heun", 20) / error("heun", 40) > 3.4);
  CHECK(error("dpmpp_2m", 20) / error("dpmpp_2m", 40) > 3.0);
  CHECK(error("unipc", 20) / error("unipc", 40) > 4.0);
  for (const std::string type : {"heun", "dpmpp_2m", "unipc"}) CHECK(error(type, 80) < 0.1 * error("euler", 80));
}

TEST_CASE("stochastic DPM-Solver++ tends to the data's mean and variance, and without noise is the plain one") {
  const auto schedule = make_schedule("linear", 1000);
  const EstimateFn model = gaussian_model(schedule);
  for (const std::string eta : {"1.0", "0.4"}) {
    const auto error = [&](int steps) {
      const auto sampler = make_sampler(
          "dpmpp_2m_sde",
          "clip = \"none\"\neta = " + eta + "\nspacing = \"karras\"\nnum_inference_steps = " + std::to_string(steps),
          schedule);
      const auto [mean, variance] = exact_moments(*sampler, model);
      return std::max(std::abs(mean - 0.3), std::abs(variance - 0.25));
    };
    CHECK(error(100) < 0.01);
    CHECK(error(200) < 0.6 * error(100));
  }

  const Tensor x = starting_noise();
  const auto quiet = make_sampler("dpmpp_2m_sde", "eta = 0.0\nnum_inference_steps = 12", schedule);
  const auto plain = make_sampler("dpmpp_2m", "num_inference_steps = 12", schedule);
  CHECK(run_sampler(*quiet, model, x).equal(run_sampler(*plain, model, x)));
}

TEST_CASE("a schedule that ends in pure noise can be sampled, but not at levels spread over sigma") {
  const auto schedule = make_schedule("linear", 100, "rescale_zero_terminal_snr = true");
  const Tensor x0 = fill(11, {2, 3, 4, 4}).to(at::kDouble);
  const EstimateFn x0_model = [&](const Tensor& x_t, const Tensor& t) {
    Estimate estimate;
    estimate.x0_from_eps = 0.9 * x0 + 0.01 * x_t;
    estimate.eps = schedule->predict_eps_from_x0(x_t, t, estimate.x0_from_eps);
    return estimate;
  };
  for (const std::string type : {"ddpm", "ddim", "euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
    INFO(type);
    const std::string more = type == "unipc" ? "order = 3\nvariant = \"bh1\"" : "";
    const auto sampler = make_sampler(type, "num_inference_steps = 10\nspacing = \"trailing\"\n" + more, schedule);
    CHECK(sampler->plan().front().t == 99);
    const Tensor sample = run_sampler(*sampler, x0_model, starting_noise());
    CHECK(sample.isfinite().all().item<bool>());
    CHECK((sample - 0.9 * x0).abs().max().item<double>() < 0.2);
  }
  CHECK_THROWS_AS(make_sampler("euler", "", schedule), ConfigError);
  CHECK_THROWS_AS(make_sampler("dpmpp_2m", "spacing = \"karras\"", schedule), ConfigError);
}

}  // namespace
}  // namespace casdm
