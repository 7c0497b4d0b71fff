#include "framework/comparison/evaluations.h"

#include <algorithm>
#include <cmath>
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

constexpr std::size_t kLargestFile = 16 << 20;

/// What may differ between two evaluations of one checkpoint: a name for people, and where it stands.
constexpr std::pair<const char*, const char*> kSettings[] = {{"weights", "run.weights.name"},
                                                             {"sampler", "run.sampler.type"},
                                                             {"steps", "run.steps"},
                                                             {"guidance", "run.guidance.scale"},
                                                             {"labels", "run.labels"},
                                                             {"seed", "run.seed"},
                                                             {"num", "num"},
                                                             {"reference", "reference.name"}};

std::string shown(const Value& record, const char* key) {
  const Value* value = find_path(record, key);
  if (value == nullptr || value->is_null()) return "";
  return value->is_string() ? value->as_string() : to_toml_value(*value);
}

/// The JSON files of the folder's evaluation/, in the order of their names.
std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code failure;
  for (fs::directory_iterator entry(folder / "evaluation", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (entry->path().extension() == ".json") files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The evaluations of the checkpoint that the run ended with, by the names of their files.
std::vector<Value> records_of(const fs::path& folder, RunRecord& run) {
  std::vector<Value> records;
  for (const fs::path& file : files_of(folder)) {
    try {
      Value record = from_json(read_regular_file(file, kLargestFile));
      check_seal(record);
      const Value* images = find_path(record, "run.checkpoint.images");
      if (images != nullptr && *images == Value(run.images)) records.push_back(std::move(record));
    } catch (const Error& error) {
      run.warnings.push_back(text("not taken: ", file.string(), ": ", error.what()));
    }
  }
  return records;
}

/// " weights=slow steps=50": the settings in which `records` differ.
std::string suffix_of(const Value& record, const std::vector<Value>& records) {
  std::string suffix;
  for (const auto& [name, key] : kSettings) {
    std::set<std::string> values;
    for (const Value& other : records) values.insert(shown(other, key));
    if (values.size() > 1) suffix += text(" ", name, "=", shown(record, key));
  }
  return suffix;
}

std::string about(const Value& record, const Value& score) {
  std::vector<std::string> words;
  const std::string feature = shown(score, "extractor.feature");
  words.push_back(text("judge ", shown(score, "judge"), feature.empty() ? "" : text(" (", feature, ")")));
  words.push_back(text(shown(record, "num"), " images against ", shown(record, "reference.name")));
  for (const auto& [name, key] : kSettings) {
    const std::string value = shown(record, key);
    if (!value.empty() && key != std::string_view("num") && key != std::string_view("reference.name")) {
      words.push_back(text(name, " ", value));
    }
  }
  return join(words, ", ");
}

bool has(const RunRecord& run, const std::string& name) { return run.find(name) != nullptr; }

void add_score(RunRecord& run, const std::string& name, const Value& score, const std::string& about) {
  const Value* value = score.find("value");
  const Value* lower = score.find("lower_is_better");
  if (value == nullptr || lower == nullptr || !value->is_number() || has(run, name)) return;
  if (!std::isfinite(value->as_number())) {
    run.lacking[name] = text("it is ", value->as_number());
    return;
  }
  Measure measure{name, value->as_number(), lower->as_boolean() ? Better::lower : Better::higher, about, {}};
  const Value* error = score.find("standard_error");
  if (error != nullptr && error->is_number()) measure.standard_error = error->as_number();
  run.measures.push_back(std::move(measure));
}

void add_record(RunRecord& run, const Value& record, const std::string& suffix) {
  const Value* scores = record.find("scores");
  if (scores == nullptr) throw Error("it has no scores");
  for (const Value& score : scores->as_array()) {
    const std::string name = shown(score, "name") + suffix;
    add_score(run, name, score, about(record, score));
    const Value* shared = score.find("trained_with");
    if (shared == nullptr || shared->as_array().empty()) continue;
    std::vector<std::string> terms;
    for (const Value& term : shared->as_array()) terms.push_back(term.as_string());
    run.warnings.push_back(text(name, " is judged by a network it was trained with (", join(terms, ", "), ")"));
  }
  if (const Value* warnings = record.find("warnings")) {
    for (const Value& warning : warnings->as_array()) run.warnings.push_back(warning.as_string());
  }
}

/// The last line of `[evaluate]` in the log, when it is of the end of the training.
void add_logged(const fs::path& folder, RunRecord& run) {
  const Value last = last_line(folder, "evaluation", run.images);
  const Value* scores = find_path(last, "evaluation.scores");
  if (scores == nullptr || !scores->is_table()) return;
  const Value& evaluation = *last.find("evaluation");
  const std::string words =
      text("while training, ", shown(evaluation, "num"), " images, weights ", shown(evaluation, "weights"));
  for (const auto& [name, score] : scores->as_table()) add_score(run, name, score, words);
}

}  // namespace

void add_evaluations(const fs::path& folder, RunRecord& run) {
  const std::vector<Value> records = records_of(folder, run);
  for (const Value& record : records) {
    try {
      add_record(run, record, suffix_of(record, records));
    } catch (const Error& error) {
      run.warnings.push_back(text("an evaluation is not taken: ", error.what()));
    }
  }
  try {
    add_logged(folder, run);
  } catch (const Error& error) {
    run.warnings.push_back(text("an evaluation in the log is not taken: ", error.what()));
  }
}

std::vector<Value> kept_records(const fs::path& folder, std::string_view what) {
  std::vector<Value> records;
  for (const fs::path& file : files_of(folder)) {
    try {
      Value record = from_json(read_regular_file(file, kLargestFile));
      check_seal(record);
      if (shown(record, "what") == what) records.push_back(std::move(record));
    } catch (const Error&) {
      continue;  // add_evaluations() has said so
    }
  }
  return records;
}

}  // namespace casdm
