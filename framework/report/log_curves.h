#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "framework/comparison/comparison.h"
#include "framework/report/plot.h"

namespace casdm {

/// The numbers of one run over its training: a column for every number of its log's lines.
struct RunLog {
  std::map<std::string, std::vector<Curve::Point>> columns;  ///< "loss.eps", "loss.eps.by_t.1", "learning_rate"
  std::vector<std::string> names;                            ///< in the order of the log
  /// By columns of scores: what they are of.
  std::map<std::string, std::string> judged;
  /// "statistic.gate": how it was spread at the last line that says so, for each quarter of t (reporting/histogram.h).
  std::map<std::string, std::vector<std::vector<double>>> histograms;
};
RunLog read_run_log(const std::filesystem::path& run);

/// The plots of a run: each number over time, those by quarter of t in one plot; of what has a histogram, that too.
std::vector<Plot> plots_of_run(const RunLog& log);

/// The plots of several arms: each number over time as the mean of an arm's runs with their range, and, of what is
/// known by quarter of t, its last value over t.
/// @param logs  of the runs of each arm
std::vector<Plot> plots_of_arms(const std::vector<std::string>& arms, const std::vector<std::vector<RunLog>>& logs);

}  // namespace casdm
