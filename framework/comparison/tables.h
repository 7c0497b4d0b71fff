#pragma once

#include <string>
#include <vector>

#include "framework/comparison/comparison.h"

/// A comparison as people and programs read it. Every form has the failed runs, and how many seeds a mean is over.
namespace casdm {

/// The measures of `summaries` whose names match one of `patterns` ("loss.*", "*fid*"), in the order of the patterns.
/// Without patterns: those that have a direction, of evaluations alone where there are any; else all. Throws
/// ConfigError when a pattern matches none.
std::vector<MeasureSummary> chosen_measures(const std::vector<MeasureSummary>& summaries,
                                            const std::vector<std::string>& patterns);

/// One row for each arm of each measure that it has or, as all its runs failed, might have; cells of text.
struct TableRows {
  struct Row {
    std::vector<std::string> cells;
    bool is_best = false;
    bool begins_measure = false;
  };
  std::vector<std::string> header;
  std::vector<Row> rows;
};
TableRows table_rows(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// The table as text, a line for each arm beside its baseline: in which measures it is better or worse, by how much
/// and how sure, and in which the two are not told apart. Of measures with a direction.
std::vector<std::string> findings(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// For a terminal: the table, the same as text, how the arms differ, remarks.
std::string text_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// The same as Markdown, and the table alone as a LaTeX `tabular` that needs no package; the best in bold.
std::string markdown_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);
std::string latex_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// One row for each run with every measure, for other programs (RFC 4180).
std::string csv_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// All of it, runs and summaries.
std::string json_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// What Markdown would take for a mark, escaped.
std::string markdown_text(const std::string& content);

/// The same for LaTeX.
std::string latex_text(const std::string& content);

}  // namespace casdm
