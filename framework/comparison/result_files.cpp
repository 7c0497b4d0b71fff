#include "framework/comparison/result_files.h"

#include <algorithm>
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

/// How each file that this program writes begins.
const std::map<std::string, std::string> kBeginnings = {{"results.csv", "arm,baseline,seed,run,"},
                                                        {"results.json", "{\n  \"format\""},
                                                        {"results.md", "| measure | arm |"},
                                                        {"results.tex", "% Means over seeds"}};

/// The file beside them with the SHA-256 of each as it was written, and the runs that were compared.
constexpr const char* kSums = ".results.json";
constexpr const char* kRuns = "runs";
constexpr std::size_t kLargestSums = 1 << 20;
constexpr std::size_t kMostShownRuns = 5;

/// Empty if there is no record, as beside the files of an earlier version.
Value sums_in(const fs::path& folder) {
  try {
    if (fs::exists(folder / kSums)) return from_json(read_regular_file(folder / kSums, kLargestSums));
  } catch (const Error&) {  // damaged: nothing is known
  }
  return {};
}

/// Whether a JSON file that begins like one of ours really is one.
bool is_comparison(const std::string& content) {
  try {
    const Value value = from_json(content);
    return value.is_table() && value.find("arms") != nullptr && value.find("measures") != nullptr;
  } catch (const Error&) {
    return false;
  }
}

/// The runs of a comparison relative to its folder, so that both may be moved together.
std::vector<std::string> runs_of(const Comparison& comparison, const fs::path& folder) {
  std::vector<std::string> result;
  const fs::path home = fs::weakly_canonical(folder);
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      result.push_back(fs::weakly_canonical(run.path).lexically_relative(home).string());
    }
  }
  return result;
}

/// Why the results that `sums` belongs to are not replaced by those of `runs`: they cover others, too. Empty: they do
/// not, or an earlier version did not record it.
std::string of_other_runs(const Value& sums, const std::vector<std::string>& runs) {
  const Value* before = sums.is_table() ? sums.find(kRuns) : nullptr;
  if (before == nullptr || !before->is_array()) return "";
  std::vector<std::string> others;
  for (const Value& run : before->as_array()) {
    const bool is_other = run.is_string() && std::find(runs.begin(), runs.end(), run.as_string()) == runs.end();
    if (is_other) others.push_back(quoted(run.as_string()));
  }
  if (others.empty()) return "";
  const std::size_t more = others.size() - std::min(others.size(), kMostShownRuns);
  others.resize(others.size() - more);
  return text("is of other runs, too (", join(others, ", "), more > 0 ? text(" and ", more, " more") : "",
              ", seen from there)");
}

/// Empty if the program wrote this content under this name; else why the file stays.
std::string why_kept(const std::string& name, const std::string& content, const Value& sums, Replaced replaced) {
  const bool is_ours = content.starts_with(kBeginnings.at(name)) && (name != "results.json" || is_comparison(content));
  if (!is_ours) return "was not written by this program";
  const Value* sum = sums.is_table() && replaced != Replaced::any ? sums.find(name) : nullptr;
  if (sum == nullptr || *sum == Value(sha256(content))) return "";
  return "was changed since this program wrote it";
}

}  // namespace

void refuse_other_results(const fs::path& folder, const Comparison& comparison, const std::string& command,
                          Replaced replaced) {
  const Value sums = sums_in(folder);
  const std::string other =
      replaced == Replaced::same_runs ? of_other_runs(sums, runs_of(comparison, folder)) : std::string();
  for (const auto& [name, beginning] : kBeginnings) {
    const fs::path file = folder / name;
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(file, ignored))) continue;
    const std::string content = fs::is_regular_file(file, ignored) ? read_file(file) : "";
    const std::string strange = why_kept(name, content, sums, Replaced::any);
    const std::string why = strange.empty() ? why_kept(name, content, sums, replaced) : strange;
    if (why.empty() && other.empty()) continue;
    const bool may_be_told = strange.empty() && replaced == Replaced::same_runs;
    throw ConfigError(text(command, ": ", file.string(), " ", why.empty() ? other : why,
                           " and is not replaced; choose another folder, ",
                           may_be_told ? "move it away, or pass --overwrite" : "or move it away"));
  }
}

void write_results(const fs::path& folder, const Comparison& comparison, const std::vector<MeasureSummary>& all,
                   const std::vector<MeasureSummary>& chosen, const std::string& command, Replaced replaced) {
  refuse_inside_run(command, folder);
  refuse_other_results(folder, comparison, command, replaced);
  fs::create_directories(folder);
  remove_leftovers(folder);
  std::map<std::string, std::string> contents = {{"results.csv", csv_of(comparison, all)},
                                                 {"results.json", json_of(comparison, all)},
                                                 {"results.md", markdown_of(comparison, chosen)},
                                                 {"results.tex", latex_of(comparison, chosen)}};
  Value sums{Value::Table{}};
  for (const auto& [name, content] : contents) sums.set(name, sha256(content));
  const std::vector<std::string> runs = runs_of(comparison, folder);
  sums.set(kRuns, Value::Array(runs.begin(), runs.end()));
  contents[kSums] = to_json(sums, 2) + "\n";
  std::map<std::string, AtomicFile> files;
  for (const auto& [name, content] : contents) files.try_emplace(name, folder / name).first->second.write(content);
  // The record is removed first and comes back last: if the program is killed here, its own files must not look as if
  // somebody changed them.
  std::error_code ignored;
  fs::remove(folder / kSums, ignored);
  for (auto& [name, file] : files) {
    if (name != kSums) file.commit();
  }
  files.at(kSums).commit();
}

}  // namespace casdm
