#pragma once

#include <string>
#include <vector>

#include "framework/comparison/comparison.h"

/// A comparison in forms for people and programs. Every form includes the failed runs, and over how many seeds a mean
/// is taken.
namespace casdm {

/// The measures of `summaries` whose names match one of `patterns` ("loss.*", "*fid*"), in the order of the patterns.
/// Without patterns: those with a direction, and only those of evaluations if there are any; otherwise all. Throws
/// ConfigError if a pattern has no match.
std::vector<MeasureSummary> chosen_measures(const std::vector<MeasureSummary>& summaries,
                                            const std::vector<std::string>& patterns);

/// One row for each arm of each measure that it has, or might have had if its runs had not all failed; the cells are
/// text.
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

/// The table as sentences, one for each arm beside its baseline: in which measures it is better or worse, by how much
/// and how certain, and in which the two cannot be told apart. Covers the measures with a direction.
std::vector<std::string> findings(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// For a terminal: the table, the findings, how the arms differ, and remarks.
std::string text_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// As Markdown; `latex_of` gives the table alone as a LaTeX `tabular` that needs no package, with the best in bold.
std::string markdown_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);
std::string latex_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// One row per run with all its measures, for other programs (RFC 4180).
std::string csv_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// Everything: runs and summaries.
std::string json_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// `content` with the characters escaped that Markdown would interpret.
std::string markdown_text(const std::string& content);

/// Like markdown_text, for LaTeX.
std::string latex_text(const std::string& content);

}  // namespace casdm
