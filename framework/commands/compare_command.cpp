#include <iostream>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/comparison/result_files.h"
#include "framework/comparison/tables.h"

namespace casdm {

namespace po = boost::program_options;

namespace {

constexpr const char* kCompareCommand = "compare";
constexpr const char* kCompareUsage = R"(usage: casdm compare RUN RUN... [--baseline NAME] [--measure PATTERN]...
       [--out DIR [--overwrite]]

Says which of several runs did better, by how much, and how certain that is. Runs that differ only in seed,
name, folder, or in what changes no result but for its last bits (run.threads, data.workers, data.cache,
log.tensorboard, checkpoint.in_background) are one arm: the table has each arm's mean over its seeds, and
the difference to the baseline at equal seeds, both with an interval of 95 %. Incomplete runs are listed
and left out.

  casdm compare runs/casdm-s* runs/ssim-s* --baseline casdm
  casdm compare runs/a runs/b --measure 'loss.*' --format latex
)";

std::string formatted(const std::string& format, const Comparison& comparison, const std::vector<MeasureSummary>& all,
                      const std::vector<std::string>& patterns) {
  const std::vector<MeasureSummary> chosen = chosen_measures(all, patterns);
  if (format == "text") return text_of(comparison, chosen);
  if (format == "markdown") return markdown_of(comparison, chosen);
  if (format == "latex") return latex_of(comparison, chosen);
  const std::vector<MeasureSummary>& whole = patterns.empty() ? all : chosen;
  if (format == "csv") return csv_of(comparison, whole);
  if (format == "json") return json_of(comparison, whole);
  const std::vector<std::string> near = nearest(format, {"text", "markdown", "latex", "csv", "json"}, 1);
  throw ConfigError(text("--format ", quoted(format), ": expected text, markdown, latex, csv or json",
                         near.empty() ? "" : text("; did you mean ", near.front(), "?")));
}

}  // namespace

int compare_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> runs, patterns;
  std::string baseline, out;
  std::optional<std::string> format;
  bool is_json = false, overwrite = false;
  po::options_description options("options");
  options.add_options()("run", po::value(&runs)->composing(), "the run folders (also without --run)")(
      "baseline", po::value(&baseline)->value_name("NAME"),
      "the arm that the others are compared with, or a run of it; default: that of the first run")(
      "measure", po::value(&patterns)->composing()->value_name("PATTERN"),
      "numbers to show, such as 'loss.*'; repeatable; default: the scores of evaluations, else the losses")(
      "format", unparsed(format, "NAME"), "text, markdown, latex, csv or json; default: text")(
      "json", po::bool_switch(&is_json), "short for --format json")(
      "out", po::value(&out)->value_name("DIR"), "also write results.csv, .json, .md and .tex into this folder")(
      "overwrite", po::bool_switch(&overwrite), "replace results in it that are of other runs, or edited");
  if (!fill_arguments({kCompareCommand, kCompareUsage, options, {"run"}, /*takes_many=*/true}, arguments)) return 0;
  if (is_json && format) throw ConfigError("compare: --json and --format exclude each other");
  if (is_json) format = "json";
  if (runs.empty()) throw ConfigError("compare: give the folders of at least two runs; see `casdm compare --help`");
  if (overwrite && out.empty()) throw ConfigError("compare: --overwrite is for --out DIR");
  Comparison comparison = compare_runs({runs.begin(), runs.end()}, baseline);
  const std::vector<MeasureSummary> all = summarise(comparison);
  const std::string table = formatted(format.value_or("text"), comparison, all, patterns);
  if (!out.empty()) {
    write_results(out, comparison, all, chosen_measures(all, patterns), kCompareCommand,
                  overwrite ? Replaced::any : Replaced::same_runs);
  }
  std::cout << (format == "json" ? table : printable(table));
  return 0;
}

}  // namespace casdm
