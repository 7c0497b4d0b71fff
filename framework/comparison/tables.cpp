#include "framework/comparison/tables.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/number_format.h"
#include "framework/support/one_line.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace {

constexpr const char* kCaption =
    "Means over seeds with their intervals of 95 % (Student's t). Differences are taken at equal seeds; an interval "
    "that does not contain 0 says that the arms differ, although one in 20 comparisons without any effect does so by "
    "chance.";

constexpr int kDigits = 4;

std::string signed_number(double value) {
  if (value == 0) return "0";
  return text(value > 0 ? "+" : "", significant(value));
}

std::string interval(const std::optional<MeanEstimate>& estimate) {
  if (!estimate || !estimate->half_width) return "";
  return text("[", significant(estimate->low(), kDigits), ", ", significant(estimate->high(), kDigits), "]");
}

std::string title_of(const MeasureSummary& measure) {
  const std::string better = to_string(measure.better);
  return better.empty() ? measure.name : text(measure.name, " (", better, " is better)");
}

/// "2 of 3": the runs with a result.
std::string seeds_of(const ArmSummary& summary, const ComparedArm& arm) {
  return summary.mean.count == arm.runs.size() ? std::to_string(summary.mean.count)
                                               : text(summary.mean.count, " of ", arm.runs.size());
}

/// "-0.0135 (2 seeds)": the seeds that an arm shares with its baseline, if these are not all.
std::string difference_of(const ArmSummary& summary) {
  const MeanEstimate& difference = *summary.difference;
  return text(signed_number(difference.mean),
              difference.count == summary.mean.count ? "" : text(" (", difference.count, " seeds)"));
}

bool is_number(std::string_view cell) {
  double value = 0;
  const auto [end, failure] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return failure == std::errc() && end == cell.data() + cell.size();
}

std::string csv_cell(const std::string& written) {
  std::string cell = printable(written);
  // A spreadsheet would read this as a formula.
  if (!cell.empty() && std::string_view("=+-@\t\r").find(cell[0]) != std::string_view::npos && !is_number(cell)) {
    cell.insert(0, 1, '\'');
  }
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string result = "\"";
  for (const char c : cell) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + "\"";
}

std::string csv_row(const std::vector<std::string>& cells) {
  std::vector<std::string> written;
  written.reserve(cells.size());
  for (const std::string& cell : cells) written.push_back(csv_cell(cell));
  return join(written, ",") + "\r\n";
}

/// One line for each arm that differs from its baseline.
std::vector<std::string> arm_lines(const Comparison& comparison) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    const std::vector<std::string> changed = differences(comparison, i);
    if (comparison.arms[i].baseline == i || changed.empty()) continue;
    lines.push_back(one_line(text(comparison.arms[i].name, " differs from ",
                                  comparison.arms[comparison.arms[i].baseline].name, " in ", join(changed, "; "))));
  }
  return lines;
}

std::string escaped(const std::string& content, const std::vector<std::pair<char, std::string>>& marks) {
  std::string result;
  for (const char c : printable(content)) {
    const auto mark = std::find_if(marks.begin(), marks.end(), [&](const auto& m) { return m.first == c; });
    result += mark == marks.end() ? std::string(1, c) : mark->second;
  }
  return result;
}

Value estimate_json(const MeanEstimate& estimate) {
  Value result{Value::Table{}};
  result.set("seeds", static_cast<std::int64_t>(estimate.count));
  result.set("mean", estimate.mean);
  result.set("low", estimate.half_width ? Value(estimate.low()) : Value());
  result.set("high", estimate.half_width ? Value(estimate.high()) : Value());
  return result;
}

Value run_json(const ComparedRun& run) {
  Value result{Value::Table{}};
  result.set("run", run.path.string());
  result.set("seed", run.seed);
  result.set("problem", run.problem.empty() ? Value() : Value(run.problem));
  result.set("images", run.record.images);
  Value::Table measures;
  for (const Measure& measure : run.record.measures) {
    if (run.record.find(measure.name) == &measure) measures.emplace_back(measure.name, measure.value);
  }
  result.set("measures", std::move(measures));
  return result;
}

Value arm_json(const Comparison& comparison, std::size_t index) {
  const ComparedArm& arm = comparison.arms[index];
  Value result{Value::Table{}};
  result.set("name", arm.name);
  result.set("baseline", comparison.arms[arm.baseline].name);
  const std::vector<std::string> changed = differences(comparison, index);
  result.set("differs_in", Value::Array(changed.begin(), changed.end()));
  Value::Array runs;
  for (const ComparedRun& run : arm.runs) runs.push_back(run_json(run));
  result.set("runs", std::move(runs));
  return result;
}

Value measure_json(const Comparison& comparison, const MeasureSummary& measure) {
  Value result{Value::Table{}};
  result.set("name", measure.name);
  result.set("better", measure.better == Better::unknown ? Value() : Value(to_string(measure.better)));
  if (!measure.about.empty()) result.set("about", measure.about);
  Value::Array arms;
  for (const ArmSummary& summary : measure.arms) {
    Value arm = estimate_json(summary.mean);
    arm.set("arm", comparison.arms[summary.arm].name);
    if (summary.difference) arm.set("difference", estimate_json(*summary.difference));
    arm.set("is_best", summary.is_best);
    arms.push_back(std::move(arm));
  }
  result.set("arms", std::move(arms));
  return result;
}

}  // namespace

std::vector<MeasureSummary> chosen_measures(const std::vector<MeasureSummary>& summaries,
                                            const std::vector<std::string>& patterns) {
  std::vector<MeasureSummary> result;
  const auto is_known = [&](const MeasureSummary& m) {
    return std::any_of(result.begin(), result.end(), [&](const MeasureSummary& other) { return other.name == m.name; });
  };
  for (const std::string& pattern : patterns) {
    bool matches = false;
    for (const MeasureSummary& measure : summaries) {
      const std::string score = measure.name.substr(0, measure.name.find(' '));  // however it was measured
      const auto fits = [&](const std::string& name) { return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0; };
      if (!fits(measure.name) && !fits(score)) continue;
      matches = true;
      if (!is_known(measure)) result.push_back(measure);
    }
    if (matches) continue;
    std::vector<std::string> names;
    names.reserve(summaries.size());
    for (const MeasureSummary& measure : summaries) names.push_back(measure.name);
    const std::vector<std::string> near = nearest(pattern, names);
    throw ConfigError(text("--measure ", quoted(pattern), ": no run has such a number; ",
                           near.empty() ? "they have " + join(names, ", ") : "did you mean " + join(near, ", ") + "?"));
  }
  if (!patterns.empty()) return result;
  const bool has_evaluation = std::any_of(summaries.begin(), summaries.end(), [](const MeasureSummary& m) {
    return !m.about.empty() && m.better != Better::unknown;
  });
  for (const MeasureSummary& measure : summaries) {
    // The quarters of t are in the files; in a table they would hide the main figures.
    const bool is_part = measure.name.find(".by_t.") != std::string::npos;
    const bool is_shown = measure.better != Better::unknown && !is_part;
    if (is_shown && (!has_evaluation || !measure.about.empty())) result.push_back(measure);
  }
  return result.empty() ? summaries : result;
}

TableRows table_rows(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  TableRows table{{"measure", "arm", "seeds", "mean", "95 %", "difference", "95 %"}, {}};
  for (const MeasureSummary& measure : measures) {
    bool is_first = true;
    for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
      const ComparedArm& arm = comparison.arms[i];
      // Skips an arm that has no such number, as with another metric, unless all its runs failed.
      if (measure.of(i) == nullptr && arm.successes() > 0) continue;
      TableRows::Row row{{is_first ? title_of(measure) : "", arm.name}, false, is_first};
      is_first = false;
      if (const ArmSummary* summary = measure.of(i)) {
        const auto& difference = summary->difference;
        row.is_best = summary->is_best;
        row.cells.insert(row.cells.end(),
                         {seeds_of(*summary, arm), significant(summary->mean.mean, kDigits), interval(summary->mean),
                          difference ? difference_of(*summary) : "", interval(difference)});
      } else {
        row.cells.insert(row.cells.end(), {text("0 of ", arm.runs.size()), "", "", "", ""});
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

std::vector<std::string> findings(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    std::vector<std::string> better, worse, alike, unsure;
    for (const MeasureSummary& measure : measures) {
      const ArmSummary* summary = measure.of(i);
      if (measure.better == Better::unknown || summary == nullptr || !summary->difference) continue;
      const MeanEstimate& difference = *summary->difference;
      if (!difference.half_width) {
        unsure.push_back(measure.name);
      } else if (!difference.excludes_zero()) {
        alike.push_back(measure.name);
      } else {
        const bool is_better = (difference.mean < 0) == (measure.better == Better::lower);
        (is_better ? better : worse)
            .push_back(text(measure.name, " (", signed_number(difference.mean), ", 95 % ", interval(difference), ")"));
      }
    }
    std::vector<std::string> parts;
    if (!better.empty()) parts.push_back("better in " + join(better, ", "));
    if (!worse.empty()) parts.push_back("worse in " + join(worse, ", "));
    if (!alike.empty()) parts.push_back("no clear difference in " + join(alike, ", "));
    if (!unsure.empty()) parts.push_back("one seed is not enough in " + join(unsure, ", "));
    if (parts.empty()) continue;
    lines.push_back(text(comparison.arms[i].name, " beside ", comparison.arms[comparison.arms[i].baseline].name, ": ",
                         join(parts, "; ")));
  }
  return lines;
}

std::string text_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  const TableRows table = table_rows(comparison, measures);
  std::vector<std::vector<std::string>> rows{table.header};
  bool has_best = false;
  for (const TableRows::Row& row : table.rows) {
    rows.push_back(row.cells);
    has_best = has_best || row.is_best;
    if (row.is_best) rows.back()[3] = "* " + row.cells[3];
  }
  std::string result = text_table(rows);
  if (has_best) result += "\n* the best, and the interval of its difference excludes 0\n";
  const std::vector<std::string> found = findings(comparison, measures);
  if (!found.empty()) result += text("\n", join(found, "\n"), "\n");
  const std::vector<std::string> arms = arm_lines(comparison);
  if (!arms.empty()) result += text("\n", join(arms, "\n"), "\n");
  const std::vector<std::string> known = remarks(comparison, measures);
  if (!known.empty()) result += text("\n", join(known, "\n"), "\n");
  return result;
}

std::string markdown_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  const TableRows table = table_rows(comparison, measures);
  std::string result = text("| ", join(table.header, " | "), " |\n| --- | --- | --: | --: | --- | --: | --- |\n");
  for (const TableRows::Row& row : table.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : row.cells) cells.push_back(markdown_text(cell));
    if (row.is_best) cells[3] = text("**", cells[3], "**");
    result += text("| ", join(cells, " | "), " |\n");
  }
  result += text("\n", kCaption, "\n");
  for (const std::string& line : findings(comparison, measures)) result += text("\n- ", markdown_text(line));
  for (const std::string& line : arm_lines(comparison)) result += text("\n- ", markdown_text(line));
  for (const std::string& line : remarks(comparison, measures)) result += text("\n- ", markdown_text(line));
  return result.ends_with('\n') ? result : result + "\n";
}

std::string latex_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  const TableRows table = table_rows(comparison, measures);
  std::string result = text("% ", kCaption, "\n");
  for (const std::string& line : remarks(comparison, measures)) result += text("% ", printable(line), "\n");
  std::vector<std::string> header;
  for (const std::string& cell : table.header) header.push_back(latex_text(cell));
  result += text("\\begin{tabular}{llrrlrl}\n\\hline\n", join(header, " & "), " \\\\\n");
  for (const TableRows::Row& row : table.rows) {
    if (row.begins_measure) result += "\\hline\n";
    std::vector<std::string> cells;
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const std::string cell = latex_text(row.cells[i]);
      // LaTeX sets a minus sign, not a hyphen, in math mode.
      cells.push_back(i < 3 || cell.empty() ? cell : text(row.is_best && i == 3 ? "\\boldmath" : "", "$", cell, "$"));
    }
    result += join(cells, " & ") + " \\\\\n";
  }
  return result + "\\hline\n\\end{tabular}\n";
}

std::string csv_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  std::vector<std::string> header{"arm", "baseline", "seed", "run", "problem", "images", "total_images"};
  for (const MeasureSummary& measure : measures) header.push_back(measure.name);
  std::string result = csv_row(header);
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      std::vector<std::string> cells{arm.name,
                                     comparison.arms[arm.baseline].name,
                                     std::to_string(run.seed),
                                     run.path.string(),
                                     run.problem,
                                     std::to_string(run.record.images),
                                     std::to_string(run.record.total_images)};
      for (const MeasureSummary& measure : measures) {
        const Measure* value = run.record.find(measure.name);
        cells.push_back(value == nullptr ? "" : number(value->value));
      }
      result += csv_row(cells);
    }
  }
  return result;
}

std::string json_of(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  Value result{Value::Table{}};
  result.set("format", 1);
  result.set("title", comparison.title);
  result.set("confidence", kConfidence);
  Value::Array arms, summaries, lines;
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) arms.push_back(arm_json(comparison, i));
  for (const MeasureSummary& measure : measures) summaries.push_back(measure_json(comparison, measure));
  for (const std::string& line : remarks(comparison, measures)) lines.emplace_back(line);
  result.set("arms", std::move(arms));
  result.set("measures", std::move(summaries));
  result.set("remarks", std::move(lines));
  return to_json(result, 2) + "\n";
}

std::string markdown_text(const std::string& content) {
  return escaped(content, {{'|', "\\|"},
                           {'*', "\\*"},
                           {'_', "\\_"},
                           {'<', "&lt;"},
                           {'`', "\\`"},
                           {'[', "\\["},
                           {']', "\\]"},
                           {'\\', "\\\\"},
                           {'\n', " "}});
}

std::string latex_text(const std::string& content) {
  return escaped(content, {{'&', "\\&"},
                           {'%', "\\%"},
                           {'$', "\\$"},
                           {'#', "\\#"},
                           {'_', "\\_"},
                           {'{', "\\{"},
                           {'}', "\\}"},
                           {'~', "\\textasciitilde{}"},
                           {'^', "\\textasciicircum{}"},
                           {'\\', "\\textbackslash{}"},
                           {'\n', " "}});
}

}  // namespace casdm
