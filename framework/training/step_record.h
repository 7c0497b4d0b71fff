#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"

namespace casdm {

/// The numbers of one step, still on the device until `check` or `StepStatistics::add` reads them.
struct StepRecord {
  std::int64_t step = 0;  ///< counts from 1
  Tensor t;               ///< int64 [B], CPU
  std::vector<std::string> terms;
  std::vector<double> term_weights;       ///< factors in the objective; 0: only recorded
  std::vector<std::string> term_modules;  ///< what each term trains
  Tensor values;                          ///< [terms, B]
  std::vector<std::string> statistics;
  Tensor statistic_values;  ///< [statistics, B]
  std::vector<std::string> modules;
  Tensor grad_norms;  ///< [modules]

  /// Appends the terms and statistics of one part of the batch.
  void add_part(const Losses& losses);

  /// Brings everything to the CPU.
  void fetch();

  /// The terms of the whole batch, on the CPU; after `fetch`.
  std::vector<LossTerm> loss_terms() const;

  /// Throws Error naming the first term that is not finite, its t and the step, or the module
  /// whose gradient is not.
  void check_finite(bool check_gradients) const;

 private:
  void add_row(std::vector<std::string>& names, std::vector<std::vector<Tensor>>& rows, std::size_t row,
               const std::string& name, const Tensor& value);
  std::vector<std::vector<Tensor>> term_parts_;
  std::vector<std::vector<Tensor>> statistic_parts_;
};

/// Sums over the steps of one logging interval.
class StepStatistics {
 public:
  explicit StepStatistics(std::int64_t num_train_timesteps) : num_train_timesteps_(num_train_timesteps) {}

  void add(const StepRecord& record);

  /// {"loss": {name: {"mean", "by_t": [4]}}, "gate": ..., "grad_norm": {module: mean}}; null where
  /// an interval had no image in a quarter of t.
  Value json() const;

  /// Mean of one term, for the progress line; 0 before any step.
  double mean(const std::string& term) const;
  const std::vector<std::string>& terms() const { return order_; }

  void clear();

 private:
  struct Sum {
    std::array<double, 4> value{};  ///< by quarter of t, least noise first
    std::array<std::int64_t, 4> count{};
    double mean() const;
    Value json() const;
  };

  std::int64_t num_train_timesteps_;
  std::vector<std::string> order_;
  std::map<std::string, Sum> losses_;
  std::map<std::string, Sum> statistics_;
  std::map<std::string, std::pair<double, std::int64_t>> grad_norms_;
};

}  // namespace casdm
