#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "framework/comparison/comparison.h"
#include "framework/report/plot.h"

namespace casdm {

/// The numbers of one run during training: a column for every number in the lines of its log.
struct RunLog {
  std::map<std::string, std::vector<Curve::Point>> columns;  ///< "loss.eps", "loss.eps.by_t.1", "learning_rate"
  std::vector<std::string> names;                            ///< in the order of the log
  /// For columns of scores: how they were measured.
  std::map<std::string, std::string> judged;
  /// "statistic.gate": its distribution in the last line that has one, for each quarter of t (reporting/histogram.h).
  std::map<std::string, std::vector<std::vector<double>>> histograms;
};
RunLog read_run_log(const std::filesystem::path& run);

/// The plots of a run: each number over time, with the quarters of t in one plot, and the histograms.
std::vector<Plot> plots_of_run(const RunLog& log);

/// The plots of several arms: each number over time as the mean of an arm's runs with their range, where all of them
/// have it, and for numbers known by quarter of t their last value over t.
/// @param logs  of the runs of each arm
std::vector<Plot> plots_of_arms(const std::vector<std::string>& arms, const std::vector<std::vector<RunLog>>& logs);

}  // namespace casdm
