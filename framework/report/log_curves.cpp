#include "framework/report/log_curves.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "casdm/text.h"
#include "framework/comparison/run_record.h"
#include "framework/reporting/histogram.h"

namespace casdm {

namespace {

constexpr const char* kImages = "images seen";
constexpr const char* kByQuarter = ".by_t.";
constexpr std::array<const char*, 4> kQuarters = {"t: least noise", "t: second quarter", "t: third quarter",
                                                  "t: most noise"};
constexpr std::array<const char*, 3> kGroups = {"loss", "statistic", "grad_norm"};
constexpr std::array<const char*, 2> kPlain = {"learning_rate", "images_per_second"};

void add(RunLog& log, const std::string& name, double images, const Value& value) {
  if (!value.is_number() || !std::isfinite(value.as_number())) return;
  const auto [column, is_new] = log.columns.try_emplace(name);
  if (is_new) log.names.push_back(name);
  // If a resume has repeated a line, only the last version counts.
  while (!column->second.empty() && column->second.back().x >= images) column->second.pop_back();
  column->second.push_back({images, value.as_number()});
}

/// Ignores a value that does not have four quarters with the same number of bins.
void add_histogram(RunLog& log, const std::string& name, const Value& value) {
  std::vector<std::vector<double>> quarters;
  if (!value.is_array() || value.as_array().size() != kQuarters.size()) return;
  for (const Value& counts : value.as_array()) {
    if (!counts.is_array() || counts.as_array().size() != kHistogramBins) return;
    quarters.emplace_back();
    for (const Value& count : counts.as_array()) {
      quarters.back().push_back(count.is_integer() && count.as_integer() > 0 ? count.as_number() : 0);
    }
  }
  log.histograms[name] = std::move(quarters);
}

void add_all(RunLog& log, const std::string& name, double images, const Value& value) {
  add(log, name, images, value);
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      add(log, text(name, ".", i + 1), images, value.as_array()[i]);
    }
  }
  if (!value.is_table()) return;
  for (const auto& [key, member] : value.as_table()) {
    if (key == kHistogram) {
      add_histogram(log, name, member);
      continue;
    }
    add_all(log, key == "mean" ? name : text(name, ".", key), images, member);
  }
}

std::string values_of(const Value& evaluation, std::initializer_list<const char*> keys) {
  std::string result;
  for (const char* key : keys) {
    const Value* value = evaluation.find(key);
    result += value == nullptr ? ";" : to_json(*value) + ";";
  }
  return result;
}

/// Adds the scores that `[evaluate]` logged during training. If a resume measures differently, new columns begin.
/// @param measures  the measures seen so far
void add_scores(RunLog& log, double images, const Value& evaluation, std::vector<std::string>& measures) {
  const Value* scores = evaluation.find("scores");
  if (scores == nullptr || !scores->is_table()) return;
  const std::string measure = values_of(evaluation, {"measure"});
  auto known = std::find(measures.begin(), measures.end(), measure);
  if (known == measures.end()) known = measures.insert(known, measure);
  const auto before = known - measures.begin();
  for (const auto& [score_name, score] : scores->as_table()) {
    const Value* value = score.find("value");
    if (value == nullptr) continue;
    const std::string name = before == 0 ? score_name : text(score_name, ", measured differently (", before + 1, ")");
    add(log, name, images, *value);
    log.judged[name] = values_of(evaluation, {"num", "weights", "seed", "reference_num", "reference_sha256"});
  }
}

bool is_part(const std::string& name) { return name.find(kByQuarter) != std::string::npos; }

/// The names in all logs, except those by quarter of t, in the order of the first log that has them.
std::vector<std::string> names_of(const std::vector<std::vector<RunLog>>& logs) {
  std::vector<std::string> names;
  for (const std::vector<RunLog>& arm : logs) {
    for (const RunLog& log : arm) {
      for (const std::string& name : log.names) {
        if (!is_part(name) && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
  }
  return names;
}

/// Mean and range over several runs, at the points where all have a value: the mean would jump where a run begins or
/// ends.
Curve merged(const std::string& name, std::size_t colour,
             const std::vector<const std::vector<Curve::Point>*>& columns) {
  Curve curve{name, colour, {}};
  if (columns.size() == 1) {
    curve.points = *columns.front();
    return curve;
  }
  std::map<double, std::vector<double>> values;
  for (const auto* column : columns) {
    for (const Curve::Point& point : *column) values[point.x].push_back(point.y);
  }
  for (const auto& [x, of_x] : values) {
    if (of_x.size() < columns.size()) continue;
    double sum = 0;
    for (const double value : of_x) sum += value;
    const auto [least, largest] = std::minmax_element(of_x.begin(), of_x.end());
    curve.points.push_back({x, sum / static_cast<double>(of_x.size()), std::pair{*least, *largest}});
  }
  return curve;
}

void add_curve(Plot& plot, Curve curve) {
  if (!curve.points.empty()) plot.curves.push_back(std::move(curve));
}

std::vector<const std::vector<Curve::Point>*> columns_of(const std::vector<RunLog>& logs, const std::string& name) {
  std::vector<const std::vector<Curve::Point>*> columns;
  for (const RunLog& log : logs) {
    const auto found = log.columns.find(name);
    if (found != log.columns.end()) columns.push_back(&found->second);
  }
  return columns;
}

bool are_judged_alike(const std::vector<std::vector<RunLog>>& logs, const std::string& name) {
  std::set<std::string> ways;
  for (const std::vector<RunLog>& arm : logs) {
    for (const RunLog& log : arm) {
      if (const auto found = log.judged.find(name); found != log.judged.end()) ways.insert(found->second);
    }
  }
  return ways.size() < 2;
}

/// The last values of a number by quarter of t, plotted over t; no curves if there are none.
Plot by_quarter(const std::string& name, const std::vector<std::string>& arms,
                const std::vector<std::vector<RunLog>>& logs) {
  Plot plot{name + " by t", "quarter of t, from the least noise", "at the end of training", {}};
  for (std::size_t arm = 0; arm < arms.size(); ++arm) {
    std::vector<std::vector<Curve::Point>> runs;
    for (const RunLog& log : logs[arm]) {
      std::vector<Curve::Point> points;
      for (std::size_t i = 0; i < kQuarters.size(); ++i) {
        const auto column = log.columns.find(text(name, kByQuarter, i + 1));
        if (column != log.columns.end()) points.push_back({static_cast<double>(i + 1), column->second.back().y});
      }
      if (!points.empty()) runs.push_back(std::move(points));
    }
    std::vector<const std::vector<Curve::Point>*> columns;
    for (const auto& points : runs) columns.push_back(&points);
    if (!columns.empty()) add_curve(plot, merged(arms[arm], arm, columns));
  }
  return plot;
}

/// Adds the fraction of all images in each bin, at the bins' midpoints; nothing if there are no images.
void add_bins(Plot& plot, const std::string& name, std::size_t colour, const std::vector<double>& counts) {
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  if (all == 0) return;
  Curve curve{name, colour, {}};
  for (std::size_t bin = 0; bin < counts.size(); ++bin) {
    curve.points.push_back({(static_cast<double>(bin) + 0.5) * plot.bin_width, counts[bin] / all});
  }
  plot.curves.push_back(std::move(curve));
}

Plot histogram_plot(const std::string& name) {
  return {text(name, ": histogram"),
          text(name, ", mean of an image"),
          "part of the images at the end of training",
          {},
          1.0 / kHistogramBins};
}

/// Over all t and all runs of an arm; no curves if no run has a histogram.
Plot histograms_of_arms(const std::string& name, const std::vector<std::string>& arms,
                        const std::vector<std::vector<RunLog>>& logs) {
  Plot plot = histogram_plot(name);
  for (std::size_t arm = 0; arm < arms.size(); ++arm) {
    std::vector<double> counts(kHistogramBins);
    for (const RunLog& log : logs[arm]) {
      const auto found = log.histograms.find(name);
      if (found == log.histograms.end()) continue;
      for (const std::vector<double>& quarter : found->second) {
        std::transform(quarter.begin(), quarter.end(), counts.begin(), counts.begin(), std::plus<>());
      }
    }
    add_bins(plot, arms[arm], arm, counts);
  }
  return plot;
}

}  // namespace

RunLog read_run_log(const std::filesystem::path& run) {
  RunLog log;
  std::vector<std::string> measures;
  read_log(run, [&](const Value& line) {
    const double images = line.find("images")->as_number();
    for (const char* group : kGroups) {
      if (const Value* value = line.find(group)) add_all(log, group, images, *value);
    }
    for (const char* name : kPlain) {
      if (const Value* value = line.find(name)) add_all(log, name, images, *value);
    }
    if (const Value* rates = line.find("learning_rates")) add_all(log, "learning_rates", images, *rates);
    if (const Value* evaluation = line.find("evaluation")) add_scores(log, images, *evaluation, measures);
  });
  return log;
}

std::vector<Plot> plots_of_run(const RunLog& log) {
  std::vector<Plot> plots;
  for (const std::string& name : log.names) {
    if (is_part(name)) continue;
    Plot plot{name, kImages, "", {{"mean", 0, log.columns.at(name)}}};
    for (std::size_t i = 0; i < kQuarters.size(); ++i) {
      const auto column = log.columns.find(text(name, kByQuarter, i + 1));
      if (column != log.columns.end()) plot.curves.push_back({kQuarters[i], i + 1, column->second});
    }
    plots.push_back(std::move(plot));
    const auto histogram = log.histograms.find(name);
    if (histogram == log.histograms.end()) continue;
    Plot bins = histogram_plot(name);
    for (std::size_t i = 0; i < kQuarters.size(); ++i) add_bins(bins, kQuarters[i], i + 1, histogram->second[i]);
    if (!bins.curves.empty()) plots.push_back(std::move(bins));
  }
  return plots;
}

std::vector<Plot> plots_of_arms(const std::vector<std::string>& arms, const std::vector<std::vector<RunLog>>& logs) {
  std::vector<Plot> plots;
  for (const std::string& name : names_of(logs)) {
    Plot plot{name, kImages, "", {}};
    for (std::size_t arm = 0; arm < arms.size(); ++arm) {
      const auto columns = columns_of(logs[arm], name);
      if (columns.size() > 1) plot.note = "mean and range over seeds";
      if (!columns.empty()) add_curve(plot, merged(arms[arm], arm, columns));
    }
    if (!are_judged_alike(logs, name)) {
      plot.note = "Judged with different numbers of images, seeds or references: not comparable";
    }
    Plot parts = by_quarter(name, arms, logs);
    if (!plot.curves.empty()) plots.push_back(std::move(plot));
    if (!parts.curves.empty()) plots.push_back(std::move(parts));
    Plot bins = histograms_of_arms(name, arms, logs);
    if (!bins.curves.empty()) plots.push_back(std::move(bins));
  }
  return plots;
}

}  // namespace casdm
