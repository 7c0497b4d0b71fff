#include "framework/comparison/result_files.h"

#include <map>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/comparison/tables.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// How each file begins that this program writes.
const std::map<std::string, std::string> kBeginnings = {{"results.csv", "arm,baseline,seed,run,"},
                                                        {"results.json", "{\n  \"format\""},
                                                        {"results.md", "| measure | arm |"},
                                                        {"results.tex", "% Means over seeds"}};

}  // namespace

void refuse_other_results(const fs::path& folder, const std::string& command) {
  for (const auto& [name, beginning] : kBeginnings) {
    const fs::path file = folder / name;
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(file, ignored))) continue;
    if (fs::is_regular_file(file, ignored) && read_file(file).starts_with(beginning)) continue;
    throw ConfigError(text(command, ": ", file.string(), " was not written by this program and is not replaced; ",
                           "choose another folder, or move it away"));
  }
}

void write_results(const fs::path& folder, const Comparison& comparison, const std::vector<MeasureSummary>& all,
                   const std::vector<MeasureSummary>& chosen, const std::string& command) {
  refuse_inside_run(command, folder);
  refuse_other_results(folder, command);
  fs::create_directories(folder);
  remove_leftovers(folder);
  write_file(folder / "results.csv", csv_of(comparison, all));
  write_file(folder / "results.json", json_of(comparison, all));
  write_file(folder / "results.md", markdown_of(comparison, chosen));
  write_file(folder / "results.tex", latex_of(comparison, chosen));
}

}  // namespace casdm
