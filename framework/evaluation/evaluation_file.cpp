#include "framework/evaluation/evaluation_file.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <iostream>

#include "casdm/atomic_file.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/evaluation/gather.h"
#include "framework/evaluation/judged_checkpoint.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"
#include "framework/support/run_contents.h"
#include "framework/support/sealed_json.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kKeyDigits = 16;

/// A name of weights, possibly the path of a file, as part of a file name.
std::string as_file_name(const std::string& weights) {
  std::string name = fs::path(weights).stem().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '_'; }, '_');
  return name.substr(0, 64);
}

std::string twelve_digits(std::int64_t images) {
  std::array<char, 32> digits;
  std::snprintf(digits.data(), digits.size(), "%012lld", static_cast<long long>(images));
  return digits.data();
}

/// Whether all scores of the record have one of these names.
bool has_names(const Value& record, const std::set<std::string>& names) {
  const Value::Array& scores = json_member(record, "scores").as_array();
  return std::all_of(scores.begin(), scores.end(),
                     [&](const Value& score) { return names.contains(json_member(score, "name").as_string()); });
}

}  // namespace

void write_record(const fs::path& path, const Value& record) {
  if (path.empty()) return;
  std::error_code failure;
  fs::create_directories(path.parent_path(), failure);
  if (failure) throw Error(text(path.parent_path().string(), " cannot be made: ", failure.message()));
  write_file(path, to_json(record, 1) + "\n");
}

std::optional<Value> read_record(const fs::path& path) {
  std::error_code ignored;
  if (path.empty() || !fs::exists(path, ignored)) return std::nullopt;
  Value record = from_json(read_regular_file(path, kLargestRecord));
  check_seal(record);
  return record;
}

EvaluationFile::EvaluationFile(const fs::path& run, const DrawnImages& images, std::int64_t num,
                               const Reference& reference, const Judges& judges)
    : run_(run) {
  if (run.empty()) return;
  require_own_folder(run / "evaluation");
  for (const JudgeMetric& metric : judges.metrics())
    names_.insert(metric.score_names.begin(), metric.score_names.end());
  Value settings = images.settings();
  std::erase_if(settings.as_table(), [](const Value::Member& member) { return member.first == "threads"; });
  Value all(Value::Table{
      {"settings", settings}, {"num", num}, {"reference", reference.sha256}, {"judges", judges.identity()}});
  // Whether images were asked for or taken for the run's own, the same ones give the same scores, not the same record.
  if (reference.kind == "data" && !reference.remarks.empty()) {
    all.set("remarks", Value::Array(reference.remarks.begin(), reference.remarks.end()));
  }
  path_ = run / "evaluation" /
          text(twelve_digits(images.checkpoint().images()), '-', as_file_name(images.request().weights), '-',
               sha256(to_json(all)).substr(0, kKeyDigits), ".json");
  remove_leftovers(path_.parent_path());
}

fs::path EvaluationFile::state() const {
  return path_.empty() ? fs::path() : fs::path(path_).replace_extension(".state");
}

std::optional<Value> EvaluationFile::read() const {
  try {
    std::optional<Value> record = read_record(path_);
    if (record) table_of({*record});                                 // throws if anything to be shown is missing
    if (record && !has_names(*record, names_)) return std::nullopt;  // a judge has another name now
    if (record && !JudgedCheckpoints(run_).have_judged(*record))
      throw Error("it is of another checkpoint of that name");
    return record;
  } catch (const Error& error) {
    std::cerr << "warning: evaluating again, since " << path_.string() << " cannot be used: " << error.what() << '\n';
    return std::nullopt;
  }
}

fs::path EvaluationFile::nearest(const Value& settings) const {
  if (path_.empty()) return {};
  const std::string key = sha256(path_.stem().string() + to_json(settings));
  return path_.parent_path() / text("nearest-", key.substr(0, kKeyDigits), ".json");
}

std::int64_t EvaluationFile::earlier_threads() const {
  std::error_code ignored;
  if (path_.empty()) return 0;
  try {
    if (fs::exists(state(), ignored)) return threads_of_state(state());
    if (!fs::exists(path_, ignored)) return 0;
    const Value record = from_json(read_file(path_));
    const Value* threads = find_path(record, "run.threads");
    return threads != nullptr && threads->is_integer() ? std::clamp<std::int64_t>(threads->as_integer(), 0, 1024) : 0;
  } catch (const Error&) {
    return 0;
  }
}

void EvaluationFile::write(const Value& record) const { write_record(path_, record); }

Value EvaluationFile::run_table(const std::string& name, const DrawnImages& images) const {
  const Value& settings = images.settings();
  const Checkpoint& checkpoint = images.checkpoint();
  const Value where(Value::Table{{"path", checkpoint.path().string()},
                                 {"images", checkpoint.images()},
                                 {kFilesDigest, checkpoint.files_sha256()}});
  Value run(Value::Table{{"path", name}, {"name", images.experiment().options.run.name}, {"checkpoint", where}});
  for (const char* key : {"weights", "noise", "head", "sampler", "steps", "guidance", "labels", "data",
                          kConditionsDigest, "seed", "batch", "precision", "device"}) {
    if (const Value* value = settings.find(key)) run.set(key, *value);
  }
  run.set("threads", std::int64_t{at::get_num_threads()});
  return run;
}

void keep_floor(const fs::path& run, const Value& record) {
  if (run.empty()) return;
  require_own_folder(run / "evaluation");
  write_record(run / "evaluation" / text("floor-", sha256(to_json(record)).substr(0, kKeyDigits), ".json"), record);
}

}  // namespace casdm
