#include "loss_second_moment.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::timesteps_diffusion {

void LossSecondMomentOptions::describe(Schema<LossSecondMomentOptions>& s) {
  s.option("history_per_term", &LossSecondMomentOptions::history_per_term,
           "Losses remembered at each timestep; until every timestep has as many, all are equally likely.")
      .range(1, 10000);
  s.option("uniform_prob", &LossSecondMomentOptions::uniform_prob,
           "Share of the draws that stays uniform, so that no timestep is forgotten.")
      .range(0, 1);
  s.option("terms", &LossSecondMomentOptions::terms,
           "Loss terms that count, by their names in the records; empty: all. Name the diffusion's own (eps, vlb) "
           "beside metrics, else a metric influences the timesteps of every network. A term counts as 0 in a step "
           "without it.")
      .example(Value::Array{"eps"});
}

namespace {

TimeRange whole_times(const NoiseScheduler& schedule) {
  const TimeRange times = schedule.range();
  if (times.is_whole) return times;
  throw ConfigError(
      "loss_second_moment keeps a history for each timestep, but this noise schedule has no whole timesteps; use "
      "\"uniform\" or \"logit_normal\"");
}

}  // namespace

LossSecondMomentTimesteps::LossSecondMomentTimesteps(const LossSecondMomentOptions& options, const Spec& spec)
    : options_(options),
      times_(whole_times(*spec.schedule)),
      num_train_timesteps_(spec.schedule->num_train_timesteps()),
      history_(add_buffer("history", at::zeros({num_train_timesteps_, options.history_per_term}, at::kDouble))),
      counts_(add_buffer("counts", at::zeros({num_train_timesteps_}, at::kLong))) {}

bool LossSecondMomentTimesteps::is_warm() const {
  return counts_.min().item<std::int64_t>() == options_.history_per_term;
}

Distribution LossSecondMomentTimesteps::distribution() const {
  const Tensor moments = history_.square().mean(1).sqrt();
  const double total = moments.sum().item<double>();
  const double share = 1 / static_cast<double>(num_train_timesteps_);
  const auto moment = moments.accessor<double, 1>();
  std::vector<double> probabilities;
  for (std::int64_t t = 0; t < num_train_timesteps_; ++t) {
    const double part = total > 0 ? moment[t] / total : share;
    probabilities.push_back((1 - options_.uniform_prob) * part + options_.uniform_prob * share);
  }
  return Distribution(std::move(probabilities));
}

TimestepDraw LossSecondMomentTimesteps::draw(const std::vector<double>& u) const {
  return is_warm() ? distribution().draw(u, true) : uniform_draw(u, times_);
}

std::vector<double> LossSecondMomentTimesteps::losses(const std::vector<LossTerm>& terms, std::int64_t count) const {
  for (const std::string& name : options_.terms) {
    const bool is_known =
        std::any_of(terms.begin(), terms.end(), [&](const LossTerm& term) { return term.name == name; });
    if (is_known) continue;
    std::vector<std::string> known;
    for (const LossTerm& term : terms) known.push_back(term.name);
    // A term may have ended. What is remembered was of steps that had it.
    if (counts_.any().item<bool>()) {
      log_.warning_once("no step has the term '", name, "' that timesteps.terms names, so it counts as 0; there are ",
                        join(known, ", "));
      continue;
    }
    throw ConfigError(
        text("timesteps.terms names '", name, "', which is not a term of the objective; it has ", join(known, ", ")));
  }
  Tensor sum = at::zeros({count}, at::kDouble);
  for (const LossTerm& term : terms) {
    const bool counts = options_.terms.empty() ||
                        std::find(options_.terms.begin(), options_.terms.end(), term.name) != options_.terms.end();
    if (counts) sum += term.weight * term.value.to(at::kDouble);
  }
  const double* first = sum.const_data_ptr<double>();
  return {first, first + count};
}

void LossSecondMomentTimesteps::observe(const Tensor& t, const std::vector<LossTerm>& terms) {
  const std::vector<double> seen = losses(terms, t.size(0));
  const auto at_t = t.accessor<double, 1>();
  const std::int64_t capacity = options_.history_per_term;
  auto* counts = counts_.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < t.size(0); ++i) {
    const auto bin = static_cast<std::int64_t>(at_t[i] - times_.first);
    double* row = history_.mutable_data_ptr<double>() + bin * capacity;
    std::int64_t& count = counts[bin];
    if (count == capacity) {
      std::rotate(row, row + 1, row + capacity);
    } else {
      ++count;
    }
    row[count - 1] = seen[static_cast<std::size_t>(i)];
  }
}

}  // namespace casdm::timesteps_diffusion
