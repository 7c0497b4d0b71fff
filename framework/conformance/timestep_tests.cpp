#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/random.h"
#include "casdm/text.h"
#include "casdm/timestep_sampler.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::timestep_samplers {

namespace {

/// Enough observations to end any common warm-up.
constexpr std::int64_t kObservations = 40;

using Path = std::shared_ptr<const NoiseScheduler>;

std::shared_ptr<TimestepSampler> sampler_of(const Subject& subject, const Path& path) {
  return subject.make<TimestepSampler>({path});
}

/// Runs the test on each path that the sampler accepts.
template <void (*kTest)(const Subject&, const Path&)>
void on_paths(const Subject& subject) {
  on_each_path([&](const Path& path) { sampler_of(subject, path); }, [&](const Path& path) { kTest(subject, path); });
}

std::vector<double> uniform_numbers(std::uint64_t seed, std::int64_t count) {
  std::vector<double> u;
  for (std::int64_t i = 0; i < count; ++i) u.push_back(uniform(derive_seed(seed, "u", static_cast<std::uint64_t>(i))));
  return u;
}

/// Reports losses that depend on the timestep and on `round` to the sampler: at every timestep once, or at as many
/// times from first to last.
/// @param recorded  the value of a term that is only recorded; 0: there is none
void observe(TimestepSampler& sampler, const Path& path, std::int64_t round, double recorded = 0) {
  const at::NoGradGuard no_grad;
  at::Generator generator = make_generator(derive_seed(1, "losses", static_cast<std::uint64_t>(round)));
  const std::int64_t T = path->num_train_timesteps();
  const TimeRange times = path->range();
  const Tensor t = at::linspace(times.first, times.last, T, at::kDouble);
  const Tensor scale = 0.1 + at::arange(T, at::kFloat) / static_cast<double>(T);
  std::vector<LossTerm> terms;
  for (const char* name : {"eps", "x0", "metric.conformance"}) {
    terms.push_back({name, scale * at::empty({T}, at::kFloat).uniform_(0.5, 1.5, generator), 1.0, "network"});
  }
  if (recorded != 0) terms.push_back({"recorded", at::full({T}, recorded) * scale, 0.0, "network"});
  sampler.observe(t, terms);
}

bool same(const TimestepDraw& a, const TimestepDraw& b) { return a.t == b.t && a.weight == b.weight; }

void draws_timesteps_in_range(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const TimeRange times = path->range();
  for (const std::int64_t round : {std::int64_t{0}, kObservations}) {
    for (std::int64_t i = 0; i < round; ++i) observe(*sampler, path, i);
    for (std::vector<double> u : {std::vector<double>{0.0}, {0.0, std::nextafter(1.0, 0.0)}, uniform_numbers(1, 500)}) {
      const TimestepDraw draw = sampler->draw(u);
      require(
          draw.t.size() == u.size() && draw.weight.size() == u.size(),
          text("for ", u.size(), " images it drew ", draw.t.size(), " timesteps and ", draw.weight.size(), " weights"));
      for (std::size_t i = 0; i < u.size(); ++i) {
        const bool is_whole = draw.t[i] == std::floor(draw.t[i]);
        require(draw.t[i] >= times.first && draw.t[i] <= times.last && (is_whole || !times.is_whole),
                text("it drew t = ", draw.t[i], "; expected a ", times.is_whole ? "whole " : "", "number in ",
                     times.first, "..", times.last));
        require(std::isfinite(draw.weight[i]) && draw.weight[i] >= 0,
                text("t = ", draw.t[i], " has the weight ", number(draw.weight[i])));
      }
    }
  }
}

void is_a_function_of_numbers_and_buffers(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const auto other = sampler_of(subject, path);
  const std::vector<double> u = uniform_numbers(subject.seed(), 64);
  for (std::int64_t round = 0; round < kObservations; ++round) {
    observe(*sampler, path, round);
    observe(*other, path, round);
    require(same(sampler->draw(u), sampler->draw(u)), "the same numbers give two draws");
    require(same(sampler->draw(u), other->draw(u)), "two instances that saw the same losses draw differently");
  }
}

/// A term of weight 0 trains nothing, so it must not affect where to train.
void ignores_what_is_only_recorded(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const auto other = sampler_of(subject, path);
  const std::vector<double> u = uniform_numbers(subject.seed(), 64);
  for (std::int64_t round = 0; round < kObservations; ++round) {
    observe(*sampler, path, round);
    observe(*other, path, round, 1e3);
    require(same(sampler->draw(u), other->draw(u)), "a term of weight 0, which trains nothing, changes the draws");
  }
}

/// Everything learned is in the buffers: a fresh instance with a copy of them behaves the same.
void resumes_from_its_buffers(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  const std::vector<double> u = uniform_numbers(subject.seed(), 64);
  for (std::int64_t round = 0; round < kObservations; ++round) {
    const auto resumed = sampler_of(subject, path);
    {
      const at::NoGradGuard no_grad;
      const NamedTensors from = sampler->buffers();
      const NamedTensors to = resumed->buffers();
      for (std::size_t i = 0; i < from.size(); ++i) {
        require(from[i].second.is_cpu(), text("buffer ", from[i].first, " is not on the CPU"));
        Tensor(to[i].second).copy_(from[i].second);
      }
    }
    observe(*sampler, path, round);
    observe(*resumed, path, round);
    require(same(sampler->draw(u), resumed->draw(u)),
            text("restored from its buffers before observation ", round + 1, ", it draws differently after it"));
  }
}

/// Importance weights keep the mean of any function of t as under uniform timesteps.
void weights_keep_the_objective(const Subject& subject, const Path& path) {
  const auto sampler = sampler_of(subject, path);
  for (std::int64_t round = 0; round < kObservations; ++round) observe(*sampler, path, round);
  const TimeRange times = path->range();
  const double length = times.last - times.first;
  const auto f = [&](double t) { return 1 + std::sin(6 * (t - times.first) / length); };
  // The mean under uniform t: over all timesteps, or over the midpoints of equally many parts.
  constexpr int kParts = 10000;
  const int count = times.is_whole ? static_cast<int>(length) + 1 : kParts;
  double expected = 0;
  for (int i = 0; i < count; ++i) {
    expected += f(times.is_whole ? times.first + i : times.first + (i + 0.5) / count * length) / count;
  }
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
               number(error), "; a weight that keeps the objective is q(t) / p(t), with q the density of uniform t"));
}

TimestepSampler::Spec spec_for(const Subject&) { return {stand_in_schedule()}; }

}  // namespace

Suite requirements() {
  const auto kind = TimestepSampler::kind;
  return suite<TimestepSampler, spec_for>(
      {{kind, "draws_timesteps_in_range", false, on_paths<draws_timesteps_in_range>},
       {kind, "is_a_function_of_numbers_and_buffers", false, on_paths<is_a_function_of_numbers_and_buffers>},
       {kind, "ignores_what_is_only_recorded", false, on_paths<ignores_what_is_only_recorded>},
       {kind, "resumes_from_its_buffers", false, on_paths<resumes_from_its_buffers>},
       {kind, "weights_keep_the_objective", false, on_paths<weights_keep_the_objective>}},
      call_timesteps);
}

}  // namespace casdm::conformance::timestep_samplers
