#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/random.h"
#include "casdm/text.h"
#include "casdm/timestep_sampler.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance {

namespace {

/// Enough observations to end a warm-up of any usual length.
constexpr std::int64_t kObservations = 40;

std::shared_ptr<TimestepSampler> sampler_of(const Subject& subject) {
  return subject.make<TimestepSampler>({stand_in_schedule()});
}

std::int64_t num_train_timesteps() { return stand_in_schedule()->num_train_timesteps(); }

std::vector<double> uniform_numbers(std::uint64_t seed, std::int64_t count) {
  std::vector<double> u;
  for (std::int64_t i = 0; i < count; ++i) u.push_back(uniform(derive_seed(seed, "u", static_cast<std::uint64_t>(i))));
  return u;
}

/// Tells the sampler of every timestep once, with losses that depend on it and on `round`.
/// @param recorded  the value of a term that is only recorded; 0: there is none
void observe(TimestepSampler& sampler, std::int64_t round, double recorded = 0) {
  const at::NoGradGuard no_grad;
  at::Generator generator = make_generator(derive_seed(1, "losses", static_cast<std::uint64_t>(round)));
  const std::int64_t T = num_train_timesteps();
  const Tensor t = at::arange(T, at::kDouble);
  const Tensor scale = 0.1 + t.to(at::kFloat) / static_cast<double>(T);
  std::vector<LossTerm> terms;
  for (const char* name : {"eps", "x0", "metric.conformance"}) {
    terms.push_back({name, scale * at::empty({T}, at::kFloat).uniform_(0.5, 1.5, generator), 1.0, "network"});
  }
  if (recorded != 0) terms.push_back({"recorded", at::full({T}, recorded) * t, 0.0, "network"});
  sampler.observe(t, terms);
}

bool same(const TimestepDraw& a, const TimestepDraw& b) { return a.t == b.t && a.weight == b.weight; }

void draws_timesteps_in_range(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const auto T = static_cast<double>(num_train_timesteps());
  for (const std::int64_t round : {std::int64_t{0}, kObservations}) {
    for (std::int64_t i = 0; i < round; ++i) observe(*sampler, i);
    for (std::vector<double> u : {std::vector<double>{0.0}, {0.0, std::nextafter(1.0, 0.0)}, uniform_numbers(1, 500)}) {
      const TimestepDraw draw = sampler->draw(u);
      require(
          draw.t.size() == u.size() && draw.weight.size() == u.size(),
          text("for ", u.size(), " images it drew ", draw.t.size(), " timesteps and ", draw.weight.size(), " weights"));
      for (std::size_t i = 0; i < u.size(); ++i) {
        require(draw.t[i] >= 0 && draw.t[i] <= T - 1 && draw.t[i] == std::floor(draw.t[i]),
                text("it drew t = ", draw.t[i], "; expected a whole number in 0..", T - 1));
        require(std::isfinite(draw.weight[i]) && draw.weight[i] >= 0,
                text("t = ", draw.t[i], " has the weight ", number(draw.weight[i])));
      }
    }
  }
}

void is_a_function_of_numbers_and_buffers(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const auto other = sampler_of(subject);
  const std::vector<double> u = uniform_numbers(subject.seed(), 64);
  for (std::int64_t round = 0; round < kObservations; ++round) {
    observe(*sampler, round);
    observe(*other, round);
    require(same(sampler->draw(u), sampler->draw(u)), "the same numbers give two draws");
    require(same(sampler->draw(u), other->draw(u)), "two instances that saw the same losses draw differently");
  }
}

/// A term of weight 0 trains nothing, so it says nothing of where to train.
void ignores_what_is_only_recorded(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const auto other = sampler_of(subject);
  const std::vector<double> u = uniform_numbers(subject.seed(), 64);
  for (std::int64_t round = 0; round < kObservations; ++round) {
    observe(*sampler, round);
    observe(*other, round, 1e3);
    require(same(sampler->draw(u), other->draw(u)), "a term of weight 0, which trains nothing, changes the draws");
  }
}

/// What is learned is in the buffers: copied into a fresh instance, they make it the same.
void resumes_from_its_buffers(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const std::vector<double> u = uniform_numbers(subject.seed(), 64);
  for (std::int64_t round = 0; round < kObservations; ++round) {
    const auto resumed = sampler_of(subject);
    {
      const at::NoGradGuard no_grad;
      const NamedTensors from = sampler->buffers();
      const NamedTensors to = resumed->buffers();
      for (std::size_t i = 0; i < from.size(); ++i) {
        require(from[i].second.is_cpu(), text("buffer ", from[i].first, " is not on the CPU"));
        Tensor(to[i].second).copy_(from[i].second);
      }
    }
    observe(*sampler, round);
    observe(*resumed, round);
    require(same(sampler->draw(u), resumed->draw(u)),
            text("restored from its buffers before observation ", round + 1, ", it draws differently after it"));
  }
}

/// Importance weights leave the mean of any function of t where it is under uniform timesteps.
void weights_keep_the_objective(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  for (std::int64_t round = 0; round < kObservations; ++round) observe(*sampler, round);
  const std::int64_t T = num_train_timesteps();
  const auto f = [&](std::int64_t t) { return 1 + std::sin(6.0 * static_cast<double>(t) / static_cast<double>(T)); };
  double expected = 0;
  for (std::int64_t t = 0; t < T; ++t) expected += f(t) / static_cast<double>(T);
  constexpr int kBatches = 400;
  constexpr std::int64_t kImages = 64;
  double sum = 0;
  double squares = 0;
  bool is_weighted = false;
  for (int batch = 0; batch < kBatches; ++batch) {
    const TimestepDraw draw = sampler->draw(
        uniform_numbers(derive_seed(subject.seed(), "batch", static_cast<std::uint64_t>(batch)), kImages));
    double mean = 0;
    for (std::size_t i = 0; i < draw.t.size(); ++i) mean += draw.weight[i] * f(draw.t[i]) / kImages;
    is_weighted = is_weighted || std::any_of(draw.weight.begin(), draw.weight.end(), [](double w) { return w != 1; });
    sum += mean;
    squares += mean * mean;
  }
  if (!is_weighted) throw Skip("it weighs every image 1");
  const double mean = sum / kBatches;
  const double error = std::sqrt(std::max(0.0, squares / kBatches - mean * mean) / kBatches);
  require(std::abs(mean - expected) <= 5 * error + 1e-9,
          text("its weights move the mean of a function of t from ", number(expected), " to ", number(mean), " +- ",
               number(error), "; a weight that keeps the objective is 1 / (T p(t))"));
}

TimestepSampler::Spec spec_for(const Subject&) { return {stand_in_schedule()}; }

}  // namespace

Suite timestep_suite() {
  const auto kind = TimestepSampler::kind;
  return suite<TimestepSampler, spec_for>(
      {{kind, "draws_timesteps_in_range", false, draws_timesteps_in_range},
       {kind, "is_a_function_of_numbers_and_buffers", false, is_a_function_of_numbers_and_buffers},
       {kind, "ignores_what_is_only_recorded", false, ignores_what_is_only_recorded},
       {kind, "resumes_from_its_buffers", false, resumes_from_its_buffers},
       {kind, "weights_keep_the_objective", false, weights_keep_the_objective}},
      call_timesteps);
}

}  // namespace casdm::conformance
