#include "framework/evaluation/earlier_experiments.h"

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestLog = std::size_t{1} << 31;
constexpr int kMostRuns = 8;  // in a chain of runs that took weights from one another

/// The resumes recorded in the log of `run` before `images` images, oldest first. Of several at one checkpoint the last
/// holds: what the others trained was set aside.
std::vector<Value> resumes_in(const fs::path& run, std::int64_t images) {
  std::vector<Value> result;
  const std::string log = read_regular_file(run / "metrics.jsonl", kLargestLog);
  for (std::size_t start = 0; start < log.size();) {
    const std::size_t end = std::min(log.find('\n', start), log.size());
    const std::string_view line = std::string_view(log).substr(start, end - start);
    start = end + 1;
    if (!line.starts_with("{\"resumed\"")) continue;
    Value resume = from_json(line);
    const Value* at = resume.find("images");
    if (at == nullptr || !at->is_integer() || at->as_integer() >= images) continue;
    if (!result.empty() && *result.back().find("images") == *at) result.pop_back();
    result.push_back(std::move(resume));
  }
  return result;
}

/// Sets what is at `path` back to `before`, or removes it if there was nothing.
void set_back(Value& root, const std::string& path, const Value& before) {
  Value* at = &root;
  const std::vector<KeyPart> parts = split_key_path(path);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string& name = parts[i].name;
    const std::optional<std::size_t> index = index_of(name);
    if (at->is_array() && index && *index < at->as_array().size()) {
      at = &at->as_array()[*index];
      continue;
    }
    if (!at->is_table()) return;
    if (i + 1 == parts.size() && before.is_null()) {
      std::erase_if(at->as_table(), [&](const Value::Member& member) { return member.first == name; });
      return;
    }
    if (at->find(name) == nullptr) at->set(name, Value(Value::Table{}));
    at = at->find(name);
  }
  *at = before;
}

void add_resumes(std::vector<EarlierExperiment>& result, const fs::path& run, Value experiment, std::int64_t images) {
  std::vector<Value> resumes = resumes_in(run, images);
  for (auto resume = resumes.rbegin(); resume != resumes.rend(); ++resume) {
    const Value* changed = resume->find("changed");
    if (changed == nullptr || !changed->is_table()) continue;
    for (const auto& [key, change] : changed->as_table()) {
      if (const Value* from = change.find("from")) set_back(experiment, key, *from);
    }
    result.push_back({text("until ", resume->find("images")->as_integer(), " images"), experiment});
  }
}

/// The run folder that contains `file`; empty: none does.
fs::path run_of(const fs::path& file) {
  std::error_code ignored;
  fs::path folder = file.parent_path();
  for (int i = 0; i < 3 && folder.has_relative_path(); ++i, folder = folder.parent_path()) {
    if (fs::is_regular_file(folder / "config.toml", ignored) && fs::exists(folder / "metrics.jsonl", ignored))
      return folder;
  }
  return {};
}

void add_run(std::vector<EarlierExperiment>& result, const fs::path& run, const Value& experiment, std::int64_t images,
             int depth);

/// Adds the experiments of the runs from which `run` took weights.
void add_sources(std::vector<EarlierExperiment>& result, const fs::path& run, int depth) {
  std::error_code ignored;
  if (depth == kMostRuns || !fs::exists(run / "init.json", ignored)) return;
  std::set<fs::path> known;
  const Value record = from_json(read_regular_file(run / "init.json", kLargestRecord));
  for (const auto& [module, taken] : record.as_table()) {
    const Value* file = taken.find("file");
    const fs::path source = file != nullptr && file->is_string() ? run_of(file->as_string()) : fs::path();
    if (source.empty() || !known.insert(source).second) continue;
    const fs::path beside = fs::path(file->as_string()).parent_path() / "config.toml";  // the checkpoint's own
    const Value experiment = load_document(fs::exists(beside, ignored) ? beside : source / "config.toml");
    const Value* images = taken.find("images");
    std::vector<EarlierExperiment> there = {{"", experiment}};
    add_run(there, source, experiment,
            images != nullptr && images->is_integer() ? images->as_integer() : std::numeric_limits<std::int64_t>::max(),
            depth + 1);
    for (EarlierExperiment& earlier : there) {
      const std::string of = text("of ", source.string());
      earlier.when = earlier.when.empty() ? of : text(earlier.when, ' ', of);
      result.push_back(std::move(earlier));
    }
  }
}

void add_run(std::vector<EarlierExperiment>& result, const fs::path& run, const Value& experiment, std::int64_t images,
             int depth) {
  try {
    add_resumes(result, run, experiment, images);
    add_sources(result, run, depth);
  } catch (const Error&) {  // gone, or damaged
  }
}

}  // namespace

std::vector<EarlierExperiment> earlier_experiments(const fs::path& folder, const Value& experiment,
                                                   std::int64_t images) {
  std::vector<EarlierExperiment> result;
  if (!folder.empty()) add_run(result, folder, experiment, images, 0);
  return result;
}

}  // namespace casdm
