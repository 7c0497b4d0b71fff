#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "casdm/noise_scheduler.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance {

namespace {

void tables_are_sound(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  double product = 1;
  for (std::size_t t = 0; t < schedule->betas().size(); ++t) {
    const double beta = schedule->betas()[t];
    require(std::isfinite(beta) && beta > 0 && beta <= 1, text("beta of timestep ", t, " is ", number(beta)));
    const double before = product;
    product *= 1 - beta;
    require(std::abs(schedule->alphas_cumprod()[t] - product) <= 1e-12,
            text("A at timestep ", t, " is not the product of 1 - beta"));
    require(product < before, text("A does not fall at timestep ", t));
    const double c1 = schedule->posterior_mean_coef1()[t];
    const double c2 = schedule->posterior_mean_coef2()[t];
    require(std::abs(c1 + c2 * std::sqrt(product) - std::sqrt(before)) <= 1e-9,
            text("c1 + c2 sqrt(A_t) is not sqrt(A_{t-1}) at timestep ", t));
  }
}

void forward_process_has_its_moments(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  at::Generator generator = make_generator(derive_seed(subject.seed(), "moments"));
  constexpr std::int64_t kSamples = 40000;
  const std::int64_t last = schedule->num_train_timesteps() - 1;
  for (const std::int64_t step : {std::int64_t{0}, last / 2, last}) {
    const Tensor eps = at::empty({1, kSamples}, at::kDouble).normal_(0, 1, generator);
    const Tensor t = at::full({1}, step, at::kLong);
    const Tensor x = schedule->q_sample(at::full({1, kSamples}, 0.5, at::kDouble), t, eps);
    const double kept = schedule->alphas_cumprod()[static_cast<std::size_t>(step)];
    const double mean = x.mean().item<double>();
    const double variance = x.var().item<double>();
    const double error = std::sqrt((1 - kept) / kSamples);
    require(std::abs(mean - 0.5 * std::sqrt(kept)) <= 5 * error + 1e-12,
            text("at timestep ", step, " the mean of x_t is ", number(mean)));
    require(std::abs(variance - (1 - kept)) <= 5 * std::sqrt(2.0 / kSamples) * (1 - kept) + 1e-12,
            text("at timestep ", step, " the variance of x_t is ", number(variance), ", expected ", number(1 - kept)));
  }
}

void repeats_its_tables(const Subject& subject) {
  require(subject.make<NoiseScheduler>({})->betas() == subject.make<NoiseScheduler>({})->betas(),
          "two instances have different betas");
}

/// Betas that are all exact in float32 were computed in it.
void computes_in_double(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  const std::vector<double>& betas = schedule->betas();
  const bool is_single = std::all_of(betas.begin(), betas.end(),
                                     [](double beta) { return static_cast<double>(static_cast<float>(beta)) == beta; });
  const bool is_constant = std::adjacent_find(betas.begin(), betas.end(), std::not_equal_to<>()) == betas.end();
  require(!is_single || is_constant, "every beta is a float32 number: tables are computed in double");
}

NoiseScheduler::Spec spec_for(const Subject&) { return {}; }

std::shared_ptr<void> stand_in(const void*) { return std::make_shared<NoiseScheduler>(stand_in_schedule()->betas()); }

}  // namespace

Suite noise_suite() {
  const auto kind = NoiseScheduler::kind;
  return suite<NoiseScheduler, spec_for>(
      {{kind, "tables_are_sound", false, tables_are_sound},
       {kind, "forward_process_has_its_moments", false, forward_process_has_its_moments},
       {kind, "computes_in_double", false, computes_in_double},
       {kind, "repeats_its_tables", false, repeats_its_tables}},
      call_noise, stand_in);
}

}  // namespace casdm::conformance
