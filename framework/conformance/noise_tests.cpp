#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "casdm/noise_scheduler.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::noise_schedulers {

namespace {

/// The times to check: all of them if they are whole numbers, else irregular ones from first to last.
Tensor times_of(const NoiseScheduler& schedule) {
  const TimeRange times = schedule.range();
  if (times.is_whole) return at::arange(times.first, times.last + 1, 1, at::kDouble);
  const Tensor part = at::linspace(0, 1, 1009, at::kDouble).pow(1.1);
  return times.first + (times.last - times.first) * part;
}

void range_is_sound(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  const auto [first, last, clean, is_whole] = schedule->range();
  require(std::isfinite(first) && std::isfinite(last) && std::isfinite(clean),
          text("the range ", number(first), "..", number(last), " from ", number(clean), " is not finite"));
  require((clean <= first && first <= last && clean < last) || (clean >= first && first >= last && clean > last),
          text("the times clean = ", number(clean), ", first = ", number(first), ", last = ", number(last),
               " do not go one way"));
  require(!is_whole || (first == std::floor(first) && last == std::floor(last)), "is_whole, but the ends are not");
  require(!is_whole || first <= last, text("the whole times fall from first = ", number(first),
                                           " to last = ", number(last), "; expected first <= last"));
  require(!is_whole || first == 0, text("the whole times begin at ", number(first), "; expected 0"));
  const NoiseLevel level = schedule->level(clean);
  require(std::abs(level.alpha - 1) <= 1e-12 && std::abs(level.sigma) <= 1e-12,
          text("at the clean image alpha is ", number(level.alpha), " and sigma ", number(level.sigma),
               "; expected 1 and 0"));
  for (const double t : {clean, first, last}) {
    const auto told = schedule->network_time(at::full({1}, t, at::kDouble)).item<double>();
    require(std::isfinite(told),
            text("at t = ", number(t), " network_time is ", number(told), ", of which networks make NaN"));
  }
}

void signal_falls(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  const Tensor t = times_of(*schedule);
  for (const Tensor& values : {schedule->alpha(t), schedule->sigma(t)}) {
    require(values.sizes() == t.sizes() && values.scalar_type() == at::kDouble,
            "alpha and sigma must be float64, shaped like t");
    require(values.isfinite().all().item<bool>() && values.ge(0).all().item<bool>(),
            "alpha and sigma must be finite and not negative");
  }
  const Tensor ratio = schedule->log_snr(t);
  const Tensor rises = (ratio.narrow(0, 1, ratio.size(0) - 1) >= ratio.narrow(0, 0, ratio.size(0) - 1)).nonzero();
  const std::int64_t at = rises.size(0) > 0 ? rises[0][0].item<std::int64_t>() + 1 : 0;
  require(rises.size(0) == 0, text("the signal-to-noise ratio does not fall at t = ", number(t[at].item<double>())));
}

void posterior_is_consistent(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  const TimeRange times = schedule->range();
  const Tensor all = times_of(*schedule);
  const Tensor t = all.narrow(0, 1, all.size(0) - 1);
  for (const Tensor& s : {schedule->previous(t), at::full_like(t, times.first), at::full_like(t, times.clean)}) {
    const Posterior posterior = schedule->posterior(t, s);
    const Tensor mean_error = posterior.of_x0 + posterior.of_x_t * schedule->alpha(t) - schedule->alpha(s);
    require(mean_error.abs().max().item<double>() <= 1e-9, "the posterior's mean of x_s is not alpha_s x0");
    const Tensor variance_error =
        posterior.variance + (posterior.of_x_t * schedule->sigma(t)).square() - schedule->sigma(s).square();
    const double scale = std::max(1.0, schedule->sigma(t).square().max().item<double>());
    require(variance_error.abs().max().item<double>() <= 1e-9 * scale,
            "the posterior's variance does not add up to that of x_s");
  }
}

void time_inverts_the_ratio(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  const TimeRange times = schedule->range();
  const Tensor t = times_of(*schedule);
  const Tensor inside = t.narrow(0, 0, t.size(0) - 1);
  const Tensor error = (schedule->time_at(schedule->log_snr(inside)) - inside).abs().max();
  require(error.item<double>() <= 1e-6 * std::abs(times.last - times.first) + 1e-9,
          text("time_at(log_snr(t)) misses t by ", number(error.item<double>())));
}

void forward_process_has_its_moments(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  at::Generator generator = make_generator(derive_seed(subject.seed(), "moments"));
  constexpr std::int64_t kSamples = 40000;
  const Tensor all = times_of(*schedule);
  for (const std::int64_t row : {std::int64_t{0}, all.size(0) / 2, all.size(0) - 1}) {
    const Tensor t = all.narrow(0, row, 1);
    const Tensor eps = at::empty({1, kSamples}, at::kDouble).normal_(0, 1, generator);
    const Tensor x = schedule->q_sample(at::full({1, kSamples}, 0.5, at::kDouble), t, eps);
    const NoiseLevel level = schedule->level(t.item<double>());
    const auto mean = x.mean().item<double>();
    const auto variance = x.var().item<double>();
    const double expected = level.sigma * level.sigma;
    require(std::abs(mean - 0.5 * level.alpha) <= 5 * level.sigma / std::sqrt(kSamples) + 1e-12,
            text("at t = ", number(level.t), " the mean of x_t is ", number(mean)));
    require(std::abs(variance - expected) <= 5 * std::sqrt(2.0 / kSamples) * expected + 1e-12,
            text("at t = ", number(level.t), " the variance of x_t is ", number(variance), ", expected ",
                 number(expected)));
  }
}

void repeats_its_levels(const Subject& subject) {
  const auto one = subject.make<NoiseScheduler>({});
  const Tensor t = times_of(*one);
  require(at::equal(one->alpha(t), subject.make<NoiseScheduler>({})->alpha(t)), "two instances have different levels");
}

/// If every level is exactly a float32, they were computed in float32.
void computes_in_double(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  const Tensor alpha = schedule->alpha(times_of(*schedule));
  const bool is_constant = alpha.eq(alpha[0]).all().item<bool>();
  require(is_constant || !at::equal(alpha.to(at::kFloat).to(at::kDouble), alpha),
          "every alpha is a float32 number: levels are computed in double");
}

NoiseScheduler::Spec spec_for(const Subject&) { return {}; }

std::shared_ptr<void> stand_in(const void*) { return std::const_pointer_cast<NoiseScheduler>(stand_in_schedule()); }

}  // namespace

Suite requirements() {
  const auto kind = NoiseScheduler::kind;
  return suite<NoiseScheduler, spec_for>(
      {{kind, "range_is_sound", false, range_is_sound},
       {kind, "signal_falls", false, signal_falls},
       {kind, "posterior_is_consistent", false, posterior_is_consistent},
       {kind, "time_inverts_the_ratio", false, time_inverts_the_ratio},
       {kind, "forward_process_has_its_moments", false, forward_process_has_its_moments},
       {kind, "computes_in_double", false, computes_in_double},
       {kind, "repeats_its_levels", false, repeats_its_levels}},
      call_noise, stand_in);
}

}  // namespace casdm::conformance::noise_schedulers
