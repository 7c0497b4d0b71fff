#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/error.h"
#include "casdm/value.h"
#include "framework/device/host_copy.h"
#include "framework/distributed/world.h"
#include "framework/reporting/histogram.h"

namespace casdm {

/// A loss, a gradient or a weight is not finite: continuing, or saving the state, would make it worse.
class NotFinite : public Error {
 public:
  using Error::Error;
};

/// The L2 norm of the gradient of each loss term alone with respect to each trainable module: with its weight, over the
/// whole batch, before clipping. 0 if a term does not reach a module.
struct TermNorms {
  std::vector<std::string> terms;
  std::vector<std::string> modules;
  Tensor values;  ///< [terms, modules]; undefined if there are none
};

/// The numbers of one step, on the device until `fetch`.
struct StepRecord {
  std::int64_t step = 0;               ///< counts from 1
  double learning_rate = 0;            ///< of [optimizer]
  std::vector<double> learning_rates;  ///< for each of `modules`
  Tensor t;                            ///< float64 [B], CPU: for the batch of all processes
  std::vector<std::string> terms;
  std::vector<double> term_weights;       ///< factors in the objective; 0: only recorded
  std::vector<std::string> term_modules;  ///< what each term trains
  std::vector<bool> term_has_gradient;    ///< whether anything trainable was involved in it
  Tensor values;                          ///< [terms, B]
  std::vector<std::string> statistics;
  Tensor statistic_values;  ///< [statistics, B]
  std::vector<std::string> modules;
  Tensor grad_norms;          ///< [modules]
  TermNorms term_norms;       ///< empty in steps that do not measure it
  Tensor extreme_prediction;  ///< [], the largest magnitude passed to metrics; undefined: not measured

  /// Appends the terms and statistics of one part of the batch, by name. Throws PluginError if another part has other
  /// names.
  void add_part(const Losses& losses);

  /// Copies everything to the CPU at once: the only time that a step waits for the device.
  void fetch();

  /// The same in two parts: `begin_fetch` queues the copy, `end_fetch` waits for it. Together they replace the terms
  /// and statistics of each process's part of a batch by those of the whole batch: in `begin_fetch` if the world queues
  /// exchanges, so that `end_fetch` needs no other process, and otherwise in `end_fetch`. The norms become those of the
  /// first process.
  void begin_fetch(World& world = World::alone());
  void end_fetch(World& world = World::alone());

  /// After `begin_fetch`: 0, or NaN if a loss term or the gradient of a module is not finite; a number on the device.
  /// Where the world queues exchanges, it is the same in all processes.
  Tensor defect() const;

  /// The terms of the whole batch, on the CPU; after `fetch`.
  std::vector<LossTerm> loss_terms() const;

  /// Whether every term is finite.
  bool has_finite_terms() const;

  /// Throws NotFinite with the first term that is not finite, its t and the step, and with what `cause` says about it.
  using Cause = std::function<std::string(std::int64_t image)>;
  void check_terms(const Cause& cause = [](std::int64_t) { return std::string(); }) const;

  /// The modules whose gradient is not finite.
  std::vector<std::string> modules_without_finite_gradient() const;

 private:
  /// The values of the terms or statistics, part by part; rows in the order of the names.
  using Parts = std::vector<std::vector<Tensor>>;
  Parts term_parts_;
  Parts statistic_parts_;
  Tensor deciding_;  ///< [processes, n], terms and norms, on the device
  std::shared_ptr<HostCopy> fetched_;
  bool has_whole_batch_ = true;  ///< `fetched_` has the numbers of all processes
};

/// "t = 12..80", for messages.
std::string times(const Tensor& t);

/// Sums over the steps of one logging interval.
class StepStatistics {
 public:
  explicit StepStatistics(const TimeRange& times) : times_(times) {}

  /// Values of terms that are not finite, which can only occur in fp16, are left out.
  void add(const StepRecord& record);

  /// {"loss": {name: {"mean", "by_t": [4]}}, "statistic": likewise, "grad_norm": {module: mean}}; null for a quarter of
  /// t without images in the interval. A term whose gradients were measured has {"grad_norm": {module: mean}}, the
  /// statistic "gate" its "histogram" (framework/reporting/histogram.h).
  Value json() const;

  /// Mean of one term, for the progress line; 0 before any step.
  double mean(const std::string& term) const;
  std::vector<std::string> terms() const;

  void clear();

  /// Saves and restores the sums. Throws Error if `state` was not made by `state()`.
  Value state() const;
  void restore(const Value& state);

 private:
  struct Sum {
    std::array<double, 4> value{};  ///< by quarter of t, least noise first
    std::array<std::int64_t, 4> count{};
    double mean() const;
  };
  using Histogram = std::array<std::array<std::int64_t, kHistogramBins>, 4>;
  /// By name, in order of first appearance.
  using Sums = std::vector<std::pair<std::string, Sum>>;

  static Sum& sum_of(Sums& sums, const std::string& name);
  static Value json(const Sums& sums);
  static Value means(const Sums& norms);
  static Value state(const Sums& sums);
  static Sums restored(const Value& state);
  static Value json(const Histogram& histogram);
  static Histogram restored_histogram(const Value& state);
  std::size_t quarter_of(double t) const;
  void add(Sums& sums, const std::vector<std::string>& names, const Tensor& values, const Tensor& t, bool skip);
  static void add_norms(Sums& sums, const std::vector<std::string>& modules, const Tensor& norms);
  Sums& norms_of(const std::string& term);
  void add_gates(const StepRecord& record);

  TimeRange times_;
  Sums losses_;
  Sums statistics_;
  Histogram gates_{};
  Sums grad_norms_;                                       ///< not by t: everything is in the first quarter
  std::vector<std::pair<std::string, Sums>> term_norms_;  ///< by term; likewise not by t
};

}  // namespace casdm
