#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>

#include "casdm/error.h"
#include "samplers/run_sampler.h"
#include "support/captured.h"

namespace casdm {
namespace {

using namespace testing;

std::string steps(int count, const std::string& spacing = "trailing") {
  return "clip = \"none\"\nspacing = \"" + spacing + "\"\nnum_inference_steps = " + std::to_string(count);
}

TEST_CASE("every sampler finds the only image in the data, on every path") {
  const Tensor x0 = fill(1, {2, 3, 4, 4}).to(at::kDouble);
  const Tensor x_T = fill(2, {2, 3, 4, 4}).to(at::kDouble) * 2;
  for (const std::shared_ptr<NoiseScheduler>& path :
       {make<NoiseScheduler>("flow", "t_max = 0.999", {}), make<NoiseScheduler>("edm", "", {})}) {
    const EstimateFn model = single_image_model(path, x0);
    for (const std::string type : {"ddim", "ddpm", "euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
      INFO(type);
      const auto sampler = make_sampler(type, steps(7), path);
      CHECK(sampler->plan().front().t == path->range().last);
      CHECK(sampler->plan().back().t_next == 0);
      CHECK(max_relative_difference(run_sampler(*sampler, model, x_T), x0) < 1e-9);
    }
  }
}

/// The exact flow keeps the position of x in its own distribution: (x - mean alpha) / sqrt(variance alpha^2 + sigma^2).
double error_of(const std::string& type, const std::string& options,
                const std::shared_ptr<const NoiseScheduler>& path) {
  const auto sampler = make_sampler(type, options, path);
  const Tensor z = at::linspace(-2, 2, 5, at::kDouble).reshape({5, 1, 1, 1});
  const NoiseLevel start = path->level(path->range().last);
  const double spread = std::sqrt(0.25 * start.alpha * start.alpha + start.sigma * start.sigma);
  // x_T in the sampler's units: the standard deviation of its first image is initial_scale times that of x_T.
  const Tensor x_T = (0.3 * start.alpha + spread * z) / path->prior_std();
  const Tensor x = run_sampler(*sampler, gaussian_model(path), x_T);
  return ((x - 0.3) / 0.5 - z).abs().max().item<double>();
}

TEST_CASE("the samplers follow a flow in continuous time, each with its order") {
  const auto flow = make<NoiseScheduler>("flow", "", {});
  for (const std::string type : {"ddim", "euler"}) {
    INFO(type);
    CHECK(error_of(type, steps(200), flow) < 0.02);
    CHECK(error_of(type, steps(100), flow) / error_of(type, steps(200), flow) == doctest::Approx(2).epsilon(0.15));
  }
  CHECK(error_of("heun", steps(100), flow) < 1e-3);
  CHECK(error_of("heun", steps(50), flow) / error_of("heun", steps(100), flow) == doctest::Approx(4).epsilon(0.3));
}

TEST_CASE("on a rectified flow Euler's step moves x along the velocity") {
  const auto flow = make<NoiseScheduler>("flow", "", {});
  const EstimateFn model = gaussian_model(flow);
  const auto sampler = make_sampler("euler", steps(5), flow);
  Tensor x = fill(2, {2, 3, 4, 4}).to(at::kDouble) * 2;
  const Tensor sampled = run_sampler(*sampler, model, x);
  for (int i = 5; i > 0; --i) {
    const Estimate estimate = model(x, at::full({2}, i / 5.0, at::kDouble));
    x = x - 0.2 * (estimate.eps - estimate.x0_from_eps);
  }
  CHECK(max_relative_difference(sampled, x) < 1e-12);
}

TEST_CASE("on a path that ends in pure noise Karras's levels begin at sigma_max, and without it they are refused") {
  const auto flow = make<NoiseScheduler>("flow", "", {});
  const auto sampler = make_sampler("euler", steps(5, "karras") + "\nsigma_max = 19\nsigma_min = 0.01", flow);
  CHECK(sampler->plan()[0].t == doctest::Approx(0.95).epsilon(1e-6));  // t / (1 - t) = 19
  CHECK(sampler->plan()[4].t == doctest::Approx(0.01 / 1.01).epsilon(1e-6));
  CHECK_THROWS_WITH_AS(make_sampler("heun", steps(5, "karras"), flow), doctest::Contains("set sigma_max"), ConfigError);
}

TEST_CASE("EDM's grid and Heun's method on EDM's path") {
  const auto edm = make<NoiseScheduler>("edm", "", {});
  const auto sampler = make_sampler("heun", steps(18, "karras"), edm);
  // Karras et al. 2022, equation 5 with rho 7, sigma from 80 to 0.002.
  const double second = std::pow(std::pow(80, 1 / 7.0) + (std::pow(0.002, 1 / 7.0) - std::pow(80, 1 / 7.0)) / 17, 7);
  CHECK(sampler->plan()[0].t == doctest::Approx(80));
  CHECK(sampler->plan()[1].t == doctest::Approx(second).epsilon(1e-9));
  CHECK(sampler->initial_scale() == doctest::Approx(80));
  CHECK(error_of("heun", steps(160, "karras"), edm) < 2e-3);
  const double ratio = error_of("heun", steps(80, "karras"), edm) / error_of("heun", steps(160, "karras"), edm);
  CHECK(ratio == doctest::Approx(4).epsilon(0.3));
}

TEST_CASE("any number of steps in continuous time ends within the path, or is refused with the largest that does") {
  const std::vector<std::shared_ptr<NoiseScheduler>> paths = {
      make<NoiseScheduler>("edm", "", {}), make<NoiseScheduler>("flow", "", {}),
      make<NoiseScheduler>("flow", "t_max = 0.999", {}), make<NoiseScheduler>("flow", "t_min = 0.05", {})};
  for (const auto& path : paths) {
    const TimeRange times = path->range();
    for (int count = 1; count <= 1000; count += count < 40 ? 1 : 37) {
      INFO(times.first, " ", count);
      const auto sampler = make_sampler("ddim", steps(count, "linspace"), path);
      const std::vector<SampleStep>& plan = sampler->plan();
      CHECK(plan.front().t == times.last);
      CHECK((count == 1 || plan.back().t == times.first));
      for (const SampleStep& step : plan) CHECK((step.t >= times.first && step.t <= times.last));
      CHECK(make_sampler("euler", steps(count, "linspace"), path)->plan().back().t == plan.back().t);
    }
  }
  CHECK(make_sampler("ddim", steps(20), paths[3])->plan().back().t == 0.05);
  CHECK_THROWS_WITH_AS(make_sampler("heun", steps(21), paths[3]), doctest::Contains("take at most 20 steps"),
                       ConfigError);
  CHECK(make_sampler("ddim", steps(1000), paths[1])->plan().back().t == 0.001);
  CHECK_THROWS_WITH_AS(make_sampler("ddim", steps(1001), paths[1]), doctest::Contains("num_inference_steps = 1001"),
                       ConfigError);
}

/// Whole timesteps without betas: alpha(t) = 1 - falling s and sigma(t) = scale s, with s = (t + 1) / 101.
class WholePath final : public NoiseScheduler {
 public:
  WholePath(double falling, double scale) : falling_(falling), scale_(scale) {}
  TimeRange range() const override { return {.first = 0, .last = 99, .clean = -1, .is_whole = true}; }
  Tensor alpha(const Tensor& t) const override { return 1 - falling_ * (t.to(at::kDouble) + 1) / 101; }
  Tensor sigma(const Tensor& t) const override { return scale_ * (t.to(at::kDouble) + 1) / 101; }
  double prior_std() const override { return std::hypot(0.5 * (1 - falling_ * 100 / 101), scale_ * 100 / 101); }

 private:
  double falling_, scale_;
};

TEST_CASE("samplers give the networks the path's inputs at their times, even if variance is not preserved") {
  const Tensor x0 = fill(1, {2, 3, 4, 4}).to(at::kDouble);
  const Tensor x_T = fill(2, {2, 3, 4, 4}).to(at::kDouble) * 2;
  const auto exploding = std::make_shared<WholePath>(0, 20), straight = std::make_shared<WholePath>(1, 1);
  for (const auto& [path, spacings] :
       {std::pair(exploding, std::vector<std::string>{"karras", "linspace", "trailing", "leading"}),
        std::pair(straight, std::vector<std::string>{"karras", "trailing", "leading"})}) {
    for (const std::string type : {"euler", "heun", "dpmpp_2m", "unipc"}) {
      for (const std::string& spacing : spacings) {
        INFO(type, " ", spacing);
        const EstimateFn model = single_image_model(path, x0);
        // The only image in the data implies one eps, which is the same along the whole trajectory.
        std::vector<Tensor> noises;
        const auto watched = [&](const Tensor& x_t, const Tensor& t) {
          Estimate estimate = model(x_t, t);
          noises.push_back(estimate.eps);
          return estimate;
        };
        const Tensor x = run_sampler(*make_sampler(type, steps(7, spacing), path), watched, x_T);
        CHECK(max_relative_difference(x, x0) < 1e-9);
        for (const Tensor& eps : noises) CHECK(max_relative_difference(eps, noises.front()) < 1e-6);
      }
    }
  }
}

TEST_CASE("where a path begins with noise alone, samplers begin with noise of its prior, whatever their spacing") {
  const auto schedule = make_schedule("cosine", 40, "rescale_zero_terminal_snr = true");
  for (const std::string type : {"euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
    for (const std::string spacing : {"leading", "trailing", "linspace"}) {
      for (const int count : {39, 40}) {
        INFO(type, " ", spacing, " ", count);
        std::shared_ptr<Sampler> sampler;
        try {
          sampler = make_sampler(type, steps(count, spacing), schedule);
        } catch (const ConfigError&) {
          continue;  // dpmpp_2m and unipc leave t = 0 out
        }
        if (sampler->plan().front().t == 39) CHECK(sampler->initial_scale() == doctest::Approx(1).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("a sampler that begins below the path's highest noise begins with the noise of its first level") {
  const Tensor x0 = fill(1, {2, 3, 4, 4}).to(at::kDouble);
  const std::string options = steps(40, "karras") + "\nsigma_max = 1.0";
  for (const std::string path : {"edm", "linear"}) {
    const auto schedule = make<NoiseScheduler>(path, "", {});
    for (const std::string type : {"dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
      INFO(path, " ", type);
      const auto sampler = make_sampler(type, options, schedule);
      CHECK(sampler->initial_scale() == doctest::Approx(path == "edm" ? 1 : std::sqrt(0.5)).epsilon(1e-6));
      CHECK(make_sampler(type, steps(40, "karras"), schedule)->initial_scale() == schedule->prior_std());
    }
  }
}

TEST_CASE("an option made meaningless by another is refused, and a meaningless number of steps gives a warning") {
  const auto betas = make_beta_schedule("linear", "num_train_timesteps = 100");
  const std::string respaced = "timestep_respacing = \"10\"\n";
  for (const std::string type : {"ddim", "ddpm"}) {
    CHECK_NOTHROW(make_sampler(type, respaced, betas));
    CHECK_THROWS_WITH_AS(make_sampler(type, respaced + "spacing = \"trailing\"", betas),
                         doctest::Contains("spacing = \"trailing\" does nothing beside it"), ConfigError);
  }
  for (const std::string type : {"ddim", "ddpm"}) {
    const auto said = [&](const std::string& more) {
      return stderr_of([&] { CHECK(make_sampler(type, respaced + more, betas)->plan().size() == 10); });
    };
    CHECK(said("num_inference_steps = 20").find("num_inference_steps = 20 does nothing beside timestep_respacing") !=
          std::string::npos);
    CHECK(said("").empty());
  }
  for (const std::string option : {"rho = 3.0", "sigma_min = 0.1", "sigma_max = 2.0"}) {
    CHECK_NOTHROW(make_sampler("heun", option + "\nspacing = \"karras\"", betas));
    CHECK_THROWS_WITH_AS(make_sampler("heun", option + "\nspacing = \"trailing\"", betas),
                         doctest::Contains("does nothing beside \"trailing\""), ConfigError);
  }
}

TEST_CASE("options that count whole timesteps are refused if there are none") {
  const auto flow = make<NoiseScheduler>("flow", "", {});
  CHECK_THROWS_WITH_AS(make_sampler("ddim", "spacing = \"leading\"", flow),
                       doctest::Contains("use \"trailing\" or \"linspace\""), ConfigError);
  CHECK_THROWS_AS(make_sampler("ddim", "timestep_respacing = \"ddim50\"", flow), ConfigError);
  CHECK_THROWS_WITH_AS(make_sampler("heun", "", flow), doctest::Contains("finite sigma"), ConfigError);
}

}  // namespace
}  // namespace casdm
