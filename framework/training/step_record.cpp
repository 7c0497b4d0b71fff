#include "framework/training/step_record.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

void StepRecord::add_row(std::vector<std::string>& names, std::vector<std::vector<Tensor>>& rows, std::size_t row,
                         const std::string& name, const Tensor& value) {
  if (row == names.size()) {
    names.push_back(name);
    rows.emplace_back();
  }
  rows[row].push_back(value.detach().to(at::kFloat));
}

void StepRecord::add_part(const Losses& losses) {
  term_weights.clear();
  term_modules.clear();
  for (const LossTerm& term : losses.terms) {
    term_weights.push_back(term.value.requires_grad() ? term.weight : 0);
    term_modules.push_back(term.module);
  }
  for (std::size_t i = 0; i < losses.terms.size(); ++i) {
    add_row(terms, term_parts_, i, losses.terms[i].name, losses.terms[i].value);
  }
  for (std::size_t i = 0; i < losses.statistics.size(); ++i) {
    add_row(statistics, statistic_parts_, i, losses.statistics[i].name, losses.statistics[i].value);
  }
}

void StepRecord::fetch() {
  const auto stacked = [](const std::vector<std::vector<Tensor>>& rows) {
    std::vector<Tensor> whole;
    for (const auto& parts : rows) whole.push_back(at::cat(parts));
    return whole.empty() ? at::empty({0, 0}) : at::stack(whole).to(at::kCPU);
  };
  values = stacked(term_parts_);
  statistic_values = stacked(statistic_parts_);
  grad_norms = grad_norms.to(at::kCPU);
  term_parts_.clear();
  statistic_parts_.clear();
}

std::vector<LossTerm> StepRecord::loss_terms() const {
  std::vector<LossTerm> result;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    result.push_back({terms[i], values[static_cast<std::int64_t>(i)], term_weights[i], term_modules[i]});
  }
  return result;
}

void StepRecord::check_finite(bool check_gradients) const {
  const std::string advice =
      "; the last checkpoint is kept. Try a smaller learning rate or term weight, fp32, or a t_range";
  if (!values.isfinite().all().item<bool>()) {
    const Tensor bad = values.isfinite().logical_not().nonzero();
    const auto term = static_cast<std::size_t>(bad[0][0].item<std::int64_t>());
    const std::int64_t image = bad[0][1].item<std::int64_t>();
    throw Error(text("step ", step, ": loss term '", terms[term], "' is ",
                     values[static_cast<std::int64_t>(term)][image].item<float>(),
                     " at t = ", t[image].item<std::int64_t>(), " (image ", image, " of the batch)", advice));
  }
  if (!check_gradients || grad_norms.isfinite().all().item<bool>()) return;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (!std::isfinite(grad_norms[static_cast<std::int64_t>(i)].item<float>())) names.push_back(modules[i]);
  }
  throw Error(text("step ", step, ": all loss terms (", join(terms, ", "), ") are finite, but the gradient of module ",
                   join(names, ", "), " is not (t = ", t.min().item<std::int64_t>(), "..", t.max().item<std::int64_t>(),
                   ")", advice));
}

void StepStatistics::add(const StepRecord& record) {
  if (order_.empty()) order_ = record.terms;
  const auto add_rows = [&](const std::vector<std::string>& names, const Tensor& values,
                            std::map<std::string, Sum>& sums) {
    const auto at = values.accessor<float, 2>();
    const auto t = record.t.accessor<std::int64_t, 1>();
    for (std::size_t row = 0; row < names.size(); ++row) {
      Sum& sum = sums[names[row]];
      for (std::int64_t i = 0; i < t.size(0); ++i) {
        const auto quarter = static_cast<std::size_t>(t[i] * 4 / num_train_timesteps_);
        sum.value[quarter] += at[static_cast<std::int64_t>(row)][i];
        ++sum.count[quarter];
      }
    }
  };
  add_rows(record.terms, record.values, losses_);
  if (!record.statistics.empty()) add_rows(record.statistics, record.statistic_values, statistics_);
  for (std::size_t i = 0; i < record.modules.size(); ++i) {
    auto& [sum, count] = grad_norms_[record.modules[i]];
    sum += record.grad_norms[static_cast<std::int64_t>(i)].item<float>();
    ++count;
  }
}

double StepStatistics::Sum::mean() const {
  const std::int64_t total = std::accumulate(count.begin(), count.end(), std::int64_t{0});
  return total > 0 ? std::accumulate(value.begin(), value.end(), 0.0) / static_cast<double>(total) : 0;
}

Value StepStatistics::Sum::json() const {
  Value::Array quarters;
  for (std::size_t i = 0; i < value.size(); ++i) {
    quarters.push_back(count[i] > 0 ? Value(value[i] / static_cast<double>(count[i])) : Value());
  }
  Value result{Value::Table{}};
  result.set("mean", mean());
  result.set("by_t", std::move(quarters));
  return result;
}

Value StepStatistics::json() const {
  Value loss{Value::Table{}};
  for (const std::string& name : order_) loss.set(name, losses_.at(name).json());
  Value result{Value::Table{}};
  result.set("loss", std::move(loss));
  for (const auto& [name, sum] : statistics_) result.set(name, sum.json());
  Value norms{Value::Table{}};
  for (const auto& [name, sum] : grad_norms_) norms.set(name, sum.first / static_cast<double>(sum.second));
  result.set("grad_norm", std::move(norms));
  return result;
}

double StepStatistics::mean(const std::string& term) const {
  const auto found = losses_.find(term);
  return found == losses_.end() ? 0 : found->second.mean();
}

void StepStatistics::clear() {
  losses_.clear();
  statistics_.clear();
  grad_norms_.clear();
}

}  // namespace casdm
