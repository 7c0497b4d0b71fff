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

/// How each file that this program writes begins.
const std::map<std::string, std::string> kBeginnings = {{"results.csv", "arm,baseline,seed,run,"},
                                                        {"results.json", "{\n  \"format\""},
                                                        {"results.md", "| measure | arm |"},
                                                        {"results.tex", "% Means over seeds"}};

/// The file beside them with the SHA-256 of each as it was written.
constexpr const char* kSums = ".results.json";
constexpr std::size_t kLargestSums = 1 << 16;

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

/// Empty if the program wrote this content under this name; else why the file stays.
std::string why_kept(const std::string& name, const std::string& content, const Value& sums) {
  const bool is_ours = content.starts_with(kBeginnings.at(name)) && (name != "results.json" || is_comparison(content));
  if (!is_ours) return "was not written by this program";
  const Value* sum = sums.is_table() ? sums.find(name) : nullptr;
  if (sum == nullptr || *sum == Value(sha256(content))) return "";
  return "was changed since this program wrote it";
}

}  // namespace

void refuse_other_results(const fs::path& folder, const std::string& command) {
  const Value sums = sums_in(folder);
  for (const auto& [name, beginning] : kBeginnings) {
    const fs::path file = folder / name;
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(file, ignored))) continue;
    const std::string why = why_kept(name, fs::is_regular_file(file, ignored) ? read_file(file) : "", sums);
    if (why.empty()) continue;
    throw ConfigError(text(command, ": ", file.string(), " ", why, " and is not replaced; ",
                           "choose another folder, or move it away"));
  }
}

void write_results(const fs::path& folder, const Comparison& comparison, const std::vector<MeasureSummary>& all,
                   const std::vector<MeasureSummary>& chosen, const std::string& command) {
  refuse_inside_run(command, folder);
  refuse_other_results(folder, command);
  fs::create_directories(folder);
  remove_leftovers(folder);
  const std::map<std::string, std::string> contents = {{"results.csv", csv_of(comparison, all)},
                                                       {"results.json", json_of(comparison, all)},
                                                       {"results.md", markdown_of(comparison, chosen)},
                                                       {"results.tex", latex_of(comparison, chosen)}};
  Value sums{Value::Table{}};
  for (const auto& [name, content] : contents) sums.set(name, sha256(content));
  // The record is removed first: if the program is killed here, its own files must not look as if somebody changed
  // them.
  std::error_code ignored;
  fs::remove(folder / kSums, ignored);
  for (const auto& [name, content] : contents) write_file(folder / name, content);
  write_file(folder / kSums, to_json(sums, 2) + "\n");
}

}  // namespace casdm
