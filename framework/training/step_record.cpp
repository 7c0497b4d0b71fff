#include "framework/training/step_record.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// The statistic in which heads record the mean of Estimate::gate over an image.
constexpr const char* kGate = "gate";
constexpr const char* kGateState = "gate_histogram";

std::size_t row_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

/// Appends `values`, terms or statistics of one part of the batch, to the rows with their names.
/// @param what  "loss term"
template <class Named>
void add_rows(std::vector<std::string>& names, std::vector<std::vector<Tensor>>& rows, const std::vector<Named>& values,
              const std::string& what) {
  const std::size_t parts = rows.empty() ? 0 : rows.front().size();
  for (const Named& value : values) {
    const std::size_t row = row_of(names, value.name);
    if (row == names.size()) {
      if (parts > 0)
        throw PluginError(text("the head has the ", what, " '", value.name, "' in only one part of a batch"));
      names.push_back(value.name);
      rows.emplace_back();
    }
    // A head may use the memory again for the next part.
    const Tensor value_now = value.value.detach();
    rows[row].push_back(value_now.to(at::kFloat, /*non_blocking=*/false, /*copy=*/value_now.is_cpu()));
  }
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (rows[row].size() > parts) continue;
    throw PluginError(text("the head lacks the ", what, " '", names[row], "' in only one part of a batch"));
  }
}

/// The row [1, n] of each process, by rank: [processes, n], queued on the device.
Tensor queued_rows(const Tensor& own, World& world) {
  const std::int64_t length = own.size(1);
  std::vector<FlatRange> ranges(static_cast<std::size_t>(world.size()), {0, length});
  for (std::size_t rank = 1; rank < ranges.size(); ++rank) ranges[rank].offset = ranges[rank - 1].offset + length;
  Tensor all = at::empty({world.size(), length}, own.options());
  all.narrow(0, world.rank(), 1).copy_(own);
  world.exchange(all.view({-1}), ranges);
  return all;
}

}  // namespace

std::string times(const Tensor& t) { return text("t = ", t.min().item<double>(), "..", t.max().item<double>()); }

void StepRecord::add_part(const Losses& losses) {
  add_rows(terms, term_parts_, losses.terms, "loss term");
  add_rows(statistics, statistic_parts_, losses.statistics, "statistic");
  term_weights.resize(terms.size());
  term_modules.resize(terms.size());
  term_has_gradient.resize(terms.size());
  for (const LossTerm& term : losses.terms) {
    const std::size_t row = row_of(terms, term.name);
    term_has_gradient[row] = term.value.requires_grad();
    if (term_has_gradient[row]) term_weights[row] = term.weight;
    term_modules[row] = term.module;
  }
}

void StepRecord::fetch() {
  begin_fetch();
  end_fetch();
}

void StepRecord::begin_fetch(World& world) {
  std::vector<Tensor> numbers;
  const auto count = [&] {
    std::int64_t sum = 0;
    for (const Tensor& part : numbers) sum += part.numel();
    return sum;
  };
  const auto add_rows_of = [&](const Parts& rows) {
    for (const auto& parts : rows) numbers.insert(numbers.end(), parts.begin(), parts.end());
  };
  add_rows_of(term_parts_);
  const std::int64_t terms_end = count();
  numbers.push_back(grad_norms);
  const std::int64_t deciding = count();
  add_rows_of(statistic_parts_);
  if (extreme_prediction.defined()) numbers.push_back(extreme_prediction.to(at::kFloat).view({1}));
  if (term_norms.values.defined()) numbers.push_back(term_norms.values.flatten());
  Tensor all = at::cat(numbers).unsqueeze(0);
  has_whole_batch_ = world.size() == 1 || world.queues_exchanges();
  if (world.size() > 1 && has_whole_batch_) {
    all = queued_rows(all, world);
    grad_norms = all[0].narrow(0, terms_end, deciding - terms_end);
  }
  deciding_ = all.narrow(1, 0, deciding);
  fetched_ = std::make_shared<HostCopy>(all);
}

void StepRecord::end_fetch(World& world) {
  const std::shared_ptr<HostCopy> fetched = std::exchange(fetched_, nullptr);
  world.finish([&] { return fetched->is_made(); });
  const Tensor all = has_whole_batch_ ? fetched->values() : world.gather(fetched->values());
  deciding_ = Tensor();
  const std::int64_t size = all.size(0);
  std::int64_t next = 0;
  const auto take = [&](std::int64_t count) { return all.narrow(1, std::exchange(next, next + count), count); };
  const auto rows_of = [&](Parts& rows) {
    if (rows.empty()) return at::empty({0, 0});
    std::int64_t images = 0;
    for (const Tensor& part : rows.front()) images += part.size(0);
    const auto count = static_cast<std::int64_t>(rows.size());
    rows.clear();
    return take(count * images).reshape({size, count, images}).transpose(0, 1).reshape({count, size * images});
  };
  values = rows_of(term_parts_);
  grad_norms = take(grad_norms.size(0))[0];
  statistic_values = rows_of(statistic_parts_);
  if (extreme_prediction.defined()) extreme_prediction = take(1).amax();
  Tensor& of_terms = term_norms.values;
  if (of_terms.defined()) of_terms = take(of_terms.numel())[0].view(of_terms.sizes());
}

Tensor StepRecord::defect() const { return (deciding_ * 0).sum(); }

std::vector<LossTerm> StepRecord::loss_terms() const {
  std::vector<LossTerm> result;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    result.push_back({terms[i], values[static_cast<std::int64_t>(i)], term_weights[i], term_modules[i]});
  }
  return result;
}

bool StepRecord::has_finite_terms() const { return values.isfinite().all().item<bool>(); }

void StepRecord::check_terms(const Cause& cause) const {
  if (has_finite_terms()) return;
  const Tensor bad = values.isfinite().logical_not().nonzero();
  const auto term = static_cast<std::size_t>(bad[0][0].item<std::int64_t>());
  const auto image = bad[0][1].item<std::int64_t>();
  throw NotFinite(text("step ", step, ": loss term '", terms[term], "' is ",
                       number(values[static_cast<std::int64_t>(term)][image].item<double>()),
                       " at t = ", t[image].item<double>(), " (image ", image, " of the batch)", cause(image)));
}

std::vector<std::string> StepRecord::modules_without_finite_gradient() const {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (!std::isfinite(grad_norms[static_cast<std::int64_t>(i)].item<float>())) result.push_back(modules[i]);
  }
  return result;
}

StepStatistics::Sum& StepStatistics::sum_of(Sums& sums, const std::string& name) {
  const auto found = std::find_if(sums.begin(), sums.end(), [&](const auto& entry) { return entry.first == name; });
  return found != sums.end() ? found->second : sums.emplace_back(name, Sum()).second;
}

std::size_t StepStatistics::quarter_of(double t) const {
  const double fraction = (t - times_.clean) / (times_.last - times_.clean);  // NoiseScheduler::fraction
  return static_cast<std::size_t>(std::clamp(std::ceil(fraction * 4) - 1, 0.0, 3.0));
}

void StepStatistics::add(Sums& sums, const std::vector<std::string>& names, const Tensor& values, const Tensor& t,
                         bool skip_not_finite) {
  const auto times = t.accessor<double, 1>();
  for (std::size_t row = 0; row < names.size(); ++row) {
    Sum& sum = sum_of(sums, names[row]);
    const Tensor of_row = values[static_cast<std::int64_t>(row)];
    const auto value = of_row.accessor<float, 1>();
    for (std::int64_t i = 0; i < times.size(0); ++i) {
      if (skip_not_finite && !std::isfinite(value[i])) continue;
      sum.value[quarter_of(times[i])] += value[i];
      ++sum.count[quarter_of(times[i])];
    }
  }
}

void StepStatistics::add_gates(const StepRecord& record) {
  const std::size_t row = row_of(record.statistics, kGate);
  if (row == record.statistics.size()) return;
  const Tensor of_row = record.statistic_values[static_cast<std::int64_t>(row)];
  const auto gate = of_row.accessor<float, 1>();
  const auto t = record.t.accessor<double, 1>();
  constexpr float kLast = kHistogramBins - 1;
  for (std::int64_t i = 0; i < t.size(0); ++i) {
    if (!std::isfinite(gate[i])) continue;
    // An unbounded gate may leave [0, 1]; it counts in the nearest bin.
    ++gates_[quarter_of(t[i])][static_cast<std::size_t>(std::clamp(gate[i] * kHistogramBins, 0.0F, kLast))];
  }
}

void StepStatistics::add_norms(Sums& sums, const std::vector<std::string>& modules, const Tensor& norms) {
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const auto norm = norms[static_cast<std::int64_t>(i)].item<float>();
    if (!std::isfinite(norm)) continue;
    Sum& sum = sum_of(sums, modules[i]);
    sum.value[0] += norm;
    ++sum.count[0];
  }
}

StepStatistics::Sums& StepStatistics::norms_of(const std::string& term) {
  const auto found =
      std::find_if(term_norms_.begin(), term_norms_.end(), [&](const auto& entry) { return entry.first == term; });
  return found != term_norms_.end() ? found->second : term_norms_.emplace_back(term, Sums()).second;
}

void StepStatistics::add(const StepRecord& record) {
  add(losses_, record.terms, record.values, record.t, true);
  add(statistics_, record.statistics, record.statistic_values, record.t, false);
  add_gates(record);
  add_norms(grad_norms_, record.modules, record.grad_norms);
  const TermNorms& of_terms = record.term_norms;
  for (std::size_t i = 0; i < of_terms.terms.size(); ++i) {
    add_norms(norms_of(of_terms.terms[i]), of_terms.modules, of_terms.values[static_cast<std::int64_t>(i)]);
  }
}

double StepStatistics::Sum::mean() const {
  const std::int64_t total = std::accumulate(count.begin(), count.end(), std::int64_t{0});
  return total > 0 ? std::accumulate(value.begin(), value.end(), 0.0) / static_cast<double>(total) : 0;
}

Value StepStatistics::json(const Sums& sums) {
  Value result{Value::Table{}};
  for (const auto& [name, sum] : sums) {
    Value::Array quarters;
    for (std::size_t i = 0; i < sum.value.size(); ++i) {
      quarters.push_back(sum.count[i] > 0 ? Value(sum.value[i] / static_cast<double>(sum.count[i])) : Value());
    }
    Value entry{Value::Table{}};
    entry.set("mean", sum.mean());
    entry.set("by_t", std::move(quarters));
    result.set(name, std::move(entry));
  }
  return result;
}

Value StepStatistics::means(const Sums& norms) {
  Value result{Value::Table{}};
  for (const auto& [module, sum] : norms) result.set(module, sum.mean());
  return result;
}

Value StepStatistics::json() const {
  Value losses = json(losses_);
  for (auto& [term, entry] : losses.as_table()) {
    const auto is_of = [&name = term](const auto& norms) { return norms.first == name && !norms.second.empty(); };
    const auto found = std::find_if(term_norms_.begin(), term_norms_.end(), is_of);
    if (found != term_norms_.end()) entry.set("grad_norm", means(found->second));
  }
  Value result{Value::Table{}};
  Value statistics = json(statistics_);
  for (auto& [name, entry] : statistics.as_table()) {
    if (name == kGate) entry.set(kHistogram, json(gates_));
  }
  result.set("loss", std::move(losses));
  result.set("statistic", std::move(statistics));
  result.set("grad_norm", means(grad_norms_));
  return result;
}

double StepStatistics::mean(const std::string& term) const {
  for (const auto& [name, sum] : losses_) {
    if (name == term) return sum.mean();
  }
  return 0;
}

std::vector<std::string> StepStatistics::terms() const {
  std::vector<std::string> result;
  for (const auto& [name, sum] : losses_) result.push_back(name);
  return result;
}

void StepStatistics::clear() {
  losses_.clear();
  statistics_.clear();
  gates_ = {};
  grad_norms_.clear();
  term_norms_.clear();
}

Value StepStatistics::state(const Sums& sums) {
  Value result{Value::Table{}};
  for (const auto& [name, sum] : sums) {
    Value entry{Value::Table{}};
    entry.set("sum", Value::Array(sum.value.begin(), sum.value.end()));
    entry.set("count", Value::Array(sum.count.begin(), sum.count.end()));
    result.set(name, std::move(entry));
  }
  return result;
}

StepStatistics::Sums StepStatistics::restored(const Value& state) {
  Sums result;
  for (const auto& [name, entry] : state.as_table()) {
    Sum& sum = sum_of(result, name);
    const Value* values = entry.find("sum");
    const Value* counts = entry.find("count");
    if (values == nullptr || counts == nullptr || values->as_array().size() != sum.value.size() ||
        counts->as_array().size() != sum.count.size()) {
      throw Error(text("the sums of '", name, "' are not those of four quarters of t"));
    }
    for (std::size_t i = 0; i < sum.value.size(); ++i) {
      const Value& value = values->as_array()[i];
      sum.value[i] = value.is_null() ? std::nan("") : value.as_number();  // JSON has no NaN
      sum.count[i] = counts->as_array()[i].as_integer();
      if (sum.count[i] < 0) throw Error(text("the sums of '", name, "' count ", sum.count[i], " images"));
    }
  }
  return result;
}

Value StepStatistics::json(const Histogram& histogram) {
  Value::Array result;
  for (const auto& quarter : histogram) result.emplace_back(Value::Array(quarter.begin(), quarter.end()));
  return result;
}

StepStatistics::Histogram StepStatistics::restored_histogram(const Value& state) {
  Histogram result{};
  const auto require = [](bool holds) {
    if (!holds) throw Error(text("the histogram of '", kGate, "' is not that of four quarters of t"));
  };
  require(state.is_array() && state.as_array().size() == result.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const Value& counts = state.as_array()[i];
    require(counts.is_array() && counts.as_array().size() == kHistogramBins);
    for (std::size_t bin = 0; bin < kHistogramBins; ++bin) {
      const Value& count = counts.as_array()[bin];
      require(count.is_integer() && count.as_integer() >= 0);
      result[i][bin] = count.as_integer();
    }
  }
  return result;
}

Value StepStatistics::state() const {
  Value result{Value::Table{}};
  result.set("loss", state(losses_));
  result.set("statistic", state(statistics_));
  result.set(kGateState, json(gates_));
  result.set("grad_norm", state(grad_norms_));
  Value of_terms{Value::Table{}};
  for (const auto& [term, norms] : term_norms_) of_terms.set(term, state(norms));
  if (!term_norms_.empty()) result.set("term_grad_norm", std::move(of_terms));
  return result;
}

void StepStatistics::restore(const Value& state) {
  const auto part = [&](const char* key) {
    const Value* value = state.find(key);
    if (value == nullptr) throw Error(text("the sums since the last line lack '", key, "'"));
    return restored(*value);
  };
  losses_ = part("loss");
  statistics_ = part("statistic");
  const Value* gates = state.find(kGateState);  // version 0.1 has none
  gates_ = gates == nullptr ? Histogram{} : restored_histogram(*gates);
  grad_norms_ = part("grad_norm");
  term_norms_.clear();
  const Value* of_terms = state.find("term_grad_norm");
  if (of_terms == nullptr) return;
  for (const auto& [term, norms] : of_terms->as_table()) term_norms_.emplace_back(term, restored(norms));
}

}  // namespace casdm
