#include "framework/comparison/evaluations.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/evaluation/judged_checkpoint.h"
#include "framework/support/component_name.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// How a run was sampled: a readable name, and its path in a record.
constexpr std::pair<const char*, const char*> kSampling[] = {
    {"weights", "run.weights.name"},    {"sampler", "run.sampler.type"}, {"steps", "run.steps"},
    {"guidance", "run.guidance.scale"}, {"labels", "run.labels"},        {"seed", "run.seed"}};

/// Limits for what is compared with all others of its run.
constexpr std::size_t kMostScores = 1000, kMostWarnings = 1000;
constexpr std::uintmax_t kMostBytes = 256 << 20;  // of the files of evaluations
constexpr std::size_t kMostSettings = 10'000, kMostSettingsOfScores = 1'000'000;

/// The settings of all scores of a run.
class SettingsCount {
 public:
  void add(const Settings& settings) {
    all_ += settings.size();
    for (const auto& [key, value] : settings) keys_.insert(key);
    if (keys_.size() <= kMostSettings && all_ <= kMostSettingsOfScores) return;
    throw Error(text("the run's scores have more than ", kMostSettings, " settings, or ", kMostSettingsOfScores,
                     " counted for each score"));
  }

 private:
  std::set<std::string> keys_;
  std::size_t all_ = 0;
};

std::string shown(const Value& record, const char* key) {
  const Value* value = find_path(record, key);
  if (value == nullptr || value->is_null()) return "";
  return value->is_string() ? value->as_string() : to_toml_value(*value);
}

/// The JSON files in the folder's evaluation/, newest last; the oldest are left out if all together are very large.
std::vector<fs::path> files_of(const fs::path& folder, std::vector<std::string>* warnings = nullptr) {
  std::vector<fs::path> files;
  std::error_code failure;
  for (fs::directory_iterator entry(folder / "evaluation", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (entry->path().extension() == ".json") files.push_back(entry->path());
  }
  const auto age = [](const fs::path& file) {
    std::error_code ignored;
    return std::pair(fs::last_write_time(file, ignored), file);
  };
  std::sort(files.begin(), files.end(), [&](const fs::path& a, const fs::path& b) { return age(a) < age(b); });
  std::uintmax_t bytes = 0;
  std::size_t first = files.size();
  for (; first > 0; --first) {
    const std::uintmax_t size = fs::file_size(files[first - 1], failure);
    if (!failure && (bytes += size) > kMostBytes) break;
  }
  if (first > 0 && warnings != nullptr) {
    warnings->push_back(text("the oldest ", first, " of the ", files.size(), " files in ",
                             (folder / "evaluation").string(), " are not taken: together they have more than ",
                             kMostBytes >> 20, " MiB"));
  }
  files.erase(files.begin(), files.begin() + static_cast<std::ptrdiff_t>(first));
  return files;
}

/// The evaluations of the run's checkpoints by number of images, newest last.
std::map<std::int64_t, std::vector<Value>> records_of(const fs::path& folder, std::vector<std::string>& warnings) {
  std::map<std::int64_t, std::vector<Value>> records;
  JudgedCheckpoints checkpoints(folder);
  for (const fs::path& file : files_of(folder, &warnings)) {
    try {
      Value record = from_json(read_regular_file(file, kLargestRecord));
      check_seal(record);
      if (!checkpoints.have_judged(record))
        throw Error("it is of another checkpoint than the run's after as many images");
      const Value* images = find_path(record, "run.checkpoint.images");
      if (images != nullptr && images->is_integer()) records[images->as_integer()].push_back(std::move(record));
    } catch (const Error& error) {
      warnings.push_back(text("not taken: ", file.string(), ": ", error.what()));
    }
  }
  return records;
}

std::string about(const Value& record, const Value& score) {
  std::vector<std::string> parts;
  const std::string feature = shown(score, "extractor.feature");
  parts.push_back(text("judge ", shown(score, "judge"), feature.empty() ? "" : text(" (", feature, ")")));
  parts.push_back(text(shown(record, "num"), " images against ", shown(record, "reference.name")));
  for (const auto& [name, key] : kSampling) {
    const std::string value = shown(record, key);
    if (!value.empty()) parts.push_back(text(name, " ", value));
  }
  return join(parts, ", ");
}

void warn(RunRecord& run, const std::string& parts) {
  if (std::find(run.warnings.begin(), run.warnings.end(), parts) != run.warnings.end()) return;
  if (run.warnings.size() >= kMostWarnings) throw Error(text("the run has more than ", kMostWarnings, " warnings"));
  run.warnings.push_back(parts);
}

/// If several scores cannot be distinguished, the last one counts.
void add_score(RunRecord& run, SettingsCount& count, const std::string& name, const Value& score,
               const std::string& about, Measuring measuring) {
  const Value* value = score.find("value");
  const Value* lower = score.find("lower_is_better");
  if (value == nullptr || lower == nullptr || !value->is_number()) return;
  if (!std::isfinite(value->as_number())) {
    run.lacking[name] = text("it is ", value->as_number());
    return;
  }
  Measure measure{name, value->as_number(), lower->as_boolean() ? Better::lower : Better::higher, about, {}, name};
  const Value* error = score.find("standard_error");
  if (error != nullptr && error->is_number()) measure.standard_error = error->as_number();
  measure.measuring = std::move(measuring);
  const auto known = std::find_if(run.measures.begin(), run.measures.end(), [&](const Measure& other) {
    return other.score == name && other.measuring.settings == measure.measuring.settings;
  });
  if (known == run.measures.end()) {
    if (run.measures.size() >= kMostScores) throw Error(text("the run has more than ", kMostScores, " scores"));
    count.add(measure.measuring.settings);
    return run.measures.push_back(std::move(measure));
  }
  if (known->value != measure.value) {
    warn(run,
         text(name, ": of evaluations that differ in nothing but batch, device, versions or files, the newest counts"));
  }
  *known = std::move(measure);
}

void add_record(RunRecord& run, SettingsCount& count, const Value& record) {
  const Value* scores = record.find("scores");
  if (scores == nullptr) throw Error("it has no scores");
  for (const Value& score : scores->as_array()) {
    const std::string name = shown(score, "name");
    if (!is_displayable(name)) throw Error(text("a score has the name ", quoted(name), ", which cannot be shown"));
    add_score(run, count, name, score, about(record, score), measuring_of(record, score, run.config));
    const Value* shared = score.find("trained_with");
    if (shared == nullptr || shared->as_array().empty()) continue;
    std::vector<std::string> terms;
    for (const Value& term : shared->as_array()) terms.push_back(term.as_string());
    warn(run, text(name, " is judged by a network it was trained with (", join(terms, ", "), ")"));
  }
  if (const Value* warnings = record.find("warnings")) {
    for (const Value& warning : warnings->as_array()) warn(run, warning.as_string());
  }
}

void add_records(RunRecord& run, SettingsCount& count, const std::vector<Value>& records) {
  for (const Value& record : records) {
    try {
      add_record(run, count, record);
    } catch (const Error& error) {
      run.warnings.push_back(text("an evaluation is ignored: ", error.what()));
    }
  }
}

/// The last line of `[evaluate]` in the log, if it belongs to the end of training.
void add_logged(const fs::path& folder, RunRecord& run, SettingsCount& count) {
  const Value last = last_line(folder, "evaluation", run.images);
  const Value* scores = find_path(last, "evaluation.scores");
  if (scores == nullptr || !scores->is_table()) return;
  const Value& evaluation = *last.find("evaluation");
  const std::string about =
      text("while training, ", shown(evaluation, "num"), " images, weights ", shown(evaluation, "weights"));
  const std::vector<Measure> recorded = run.measures;
  for (const auto& [name, score] : scores->as_table()) {
    if (!is_displayable(name)) throw Error(text("a score has the name ", quoted(name), ", which cannot be shown"));
    const auto is_it = [&name = name](const Measure& measure) { return measure.score == name; };
    if (std::any_of(recorded.begin(), recorded.end(), is_it)) continue;
    add_score(run, count, name, score, about, measuring_of_logged(evaluation, name, run.config));
  }
}

}  // namespace

void add_evaluations(const fs::path& folder, RunRecord& run) {
  SettingsCount count;
  add_records(run, count, records_of(folder, run.warnings)[run.images]);
  try {
    add_logged(folder, run, count);
  } catch (const Error& error) {
    run.warnings.push_back(text("an evaluation in the log is ignored: ", error.what()));
  }
  tell_apart({&run});
}

std::map<std::int64_t, std::vector<Measure>> other_evaluations(const fs::path& folder, const RunRecord& run) {
  std::map<std::int64_t, std::vector<Measure>> result;
  std::vector<std::string> said_already;
  for (const auto& [images, records] : records_of(folder, said_already)) {
    if (images == run.images) continue;
    RunRecord then;
    then.config = run.config;
    SettingsCount count;
    add_records(then, count, records);
    tell_apart({&then});
    result[images] = std::move(then.measures);
  }
  return result;
}

std::vector<Value> kept_records(const fs::path& folder, std::string_view what) {
  std::vector<Value> records;
  for (const fs::path& file : files_of(folder)) {
    try {
      Value record = from_json(read_regular_file(file, kLargestRecord));
      check_seal(record);
      if (shown(record, "what") == what) records.push_back(std::move(record));
    } catch (const Error&) {
      continue;  // add_evaluations() has reported it
    }
  }
  return records;
}

}  // namespace casdm
