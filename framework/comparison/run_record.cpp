#include "framework/comparison/run_record.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <set>
#include <string_view>

#include "casdm/error.h"
#include "casdm/options.h"
#include "casdm/text.h"
#include "framework/comparison/evaluations.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/reporting/histogram.h"
#include "framework/support/component_name.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestLog = std::size_t{1} << 31;

/// Calls `use` with each line of `content`, starting with the last, until it returns true.
void from_the_end(std::string_view content, const std::function<bool(std::string_view)>& use) {
  // Anything after the last line break is an incomplete line.
  for (std::size_t end = content.rfind('\n'); end != std::string_view::npos && end > 0;) {
    const std::size_t before = content.rfind('\n', end - 1);
    const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
    if (use(content.substr(begin, end - begin)) || before == std::string_view::npos) return;
    end = before;
  }
}

/// Calls `use` with each line of `content` in turn, without an incomplete one at the end.
void each_line(std::string_view content, const std::function<void(std::string_view)>& use) {
  for (std::size_t begin = 0, end; (end = content.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
    use(content.substr(begin, end - begin));
  }
}

/// A line of the log, of a resume or not; null if it is damaged.
Value any_record(std::string_view line) {
  try {
    Value record = from_json(line);
    const Value* images = record.find("images");
    return images != nullptr && images->is_integer() ? record : Value();
  } catch (const Error&) {
    return {};
  }
}

/// A line of the log; null if it records a resume or is damaged.
Value record_of(std::string_view line) {
  Value record = any_record(line);
  return record.find("resumed") == nullptr ? record : Value();
}

std::string log_of(const fs::path& folder) {
  const fs::path log = folder / "metrics.jsonl";
  return fs::exists(log) ? read_regular_file(log, kLargestLog) : "";
}

/// Adds the finite numbers in `value`, at any depth: "loss.eps" of {"loss": {"eps": {"mean": ...}}}.
void add_numbers(const Value& value, const std::string& name, Better better, RunRecord& run) {
  if (value.is_null()) run.lacking[name] = "no image counted in the last line of the log";
  if (value.is_number() && std::isfinite(value.as_number())) run.measures.push_back({name, value.as_number(), better});
  if (value.is_number() && !std::isfinite(value.as_number())) run.lacking[name] = text("it is ", value.as_number());
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      add_numbers(value.as_array()[i], text(name, ".", i + 1), better, run);
    }
  }
  if (!value.is_table()) return;
  for (const auto& [key, member] : value.as_table()) {
    if (key == kHistogram) continue;
    const Better of_member = key == "grad_norm" ? Better::unknown : better;
    add_numbers(member, key == "mean" ? name : text(name, ".", key), of_member, run);
  }
}

/// Warns of lines that cannot be read; no others are left out.
void add_damaged_lines(const std::string& log, RunRecord& run) {
  std::size_t number = 0, first = 0, damaged = 0;
  each_line(log, [&](std::string_view line) {
    ++number;
    if (!any_record(line).is_null()) return;
    if (++damaged == 1) first = number;
  });
  if (damaged == 0) return;
  run.warnings.push_back(text((run.path / "metrics.jsonl").string(), ":", first, ": ",
                              damaged == 1 ? "this line" : text("this line and ", damaged - 1, " more"),
                              " cannot be read and ", damaged == 1 ? "is" : "are", " left out"));
}

/// Warns of metric terms that are in the log but not in its last line, as with `every` or `until_images`.
void add_absent_terms(const Value& last, const std::string& log, RunRecord& run) {
  const Value* metrics = run.config.find("metrics");
  const Value* losses = last.find("loss");
  if (metrics == nullptr || !metrics->is_array() || losses == nullptr) return;
  std::vector<std::string> absent;
  for (const Value& metric : metrics->as_array()) {
    const Value* name = metric.find("name");
    const Value* type = metric.find("type");
    const bool is_named = name != nullptr && name->is_string() && !name->as_string().empty();
    if (!is_named && (type == nullptr || !type->is_string())) continue;
    const std::string term = "metric." + (is_named ? name->as_string() : component_name(type->as_string()));
    if (losses->find(term) != nullptr) continue;
    if (log.find(text('"', term, "\":")) != std::string::npos) absent.push_back("loss." + term);
  }
  if (absent.empty()) return;
  run.warnings.push_back(text("seed ", run.seed, ": no step of the log's last line had ", join(absent, ", ")));
}

std::int64_t whole_number(const Value& config, const std::string& key, std::int64_t fallback) {
  const Value* value = find_path(config, key);
  if (value == nullptr) return fallback;
  return value->is_integer() ? value->as_integer() : read_count(*value).value;
}

/// See `last_line`.
Value last_line_in(const std::string& log, std::string_view key, std::int64_t images) {
  Value found;
  from_the_end(log, [&](std::string_view line) {
    Value record = record_of(line);
    if (record.is_null()) return false;
    if (record.find("images")->as_integer() < images) return true;
    if (record.find(key) == nullptr) return false;
    found = std::move(record);
    return true;
  });
  return found;
}

/// The images seen by the line before the last one, which is at `last` images: its means are over the images since
/// then.
std::int64_t images_before(std::int64_t last, const std::string& log) {
  std::int64_t images = 0;
  from_the_end(log, [&](std::string_view line) {
    const Value record = record_of(line);
    if (record.is_null() || record.find("loss") == nullptr || record.find("images")->as_integer() >= last) return false;
    images = record.find("images")->as_integer();
    return true;
  });
  return images;
}

}  // namespace

std::string to_string(Better better) {
  return better == Better::lower ? "lower" : better == Better::higher ? "higher" : "";
}

const Measure* RunRecord::find(const std::string& name) const {
  const auto found = places.find(name);
  return found == places.end() ? nullptr : &measures[found->second];
}

void RunRecord::index_measures() {
  places.clear();
  for (std::size_t i = 0; i < measures.size(); ++i) places.emplace(measures[i].name, i);
}

RunRecord read_run_record(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_regular_file(folder / "config.toml", ignored)) throw ConfigError(why_no_run(folder));
  RunRecord run;
  run.path = folder;
  run.config = load_document(folder / "config.toml");
  run.seed = whole_number(run.config, "run.seed", 0);
  run.total_images = whole_number(run.config, "train.total_images", 0);
  const std::string log = log_of(folder);
  const Value last = last_line_in(log, "loss", 0);
  if (last.is_null()) return run;
  run.images = last.find("images")->as_integer();
  add_damaged_lines(log, run);
  add_absent_terms(last, log, run);
  run.provenance = read_provenance(folder, run.config, log);
  for (const std::string& clause : earlier_settings(run.provenance, run.config)) {
    run.warnings.push_back(text("seed ", run.seed, " was trained with other settings ", clause));
  }
  if (const Value* seconds = last.find("seconds")) run.seconds = seconds->as_number();
  add_evaluations(folder, run);
  const std::array<std::pair<const char*, Better>, 3> groups = {
      {{"loss", Better::lower}, {"statistic", Better::unknown}, {"grad_norm", Better::unknown}}};
  const auto first = static_cast<std::ptrdiff_t>(run.measures.size());
  for (const auto& [name, better] : groups) {
    if (const Value* group = last.find(name)) add_numbers(*group, name, better, run);
  }
  const std::string window = text(images_before(run.images, log) + 1, "-", run.images);
  std::for_each(run.measures.begin() + first, run.measures.end(), [&](Measure& measure) {
    measure.score = measure.name;
    measure.measuring.settings["images"] = window;
  });
  for (const char* name : {"seconds", "images_per_second"}) {
    if (const Value* value = last.find(name)) add_numbers(*value, name, Better::unknown, run);
  }
  run.index_measures();
  return run;
}

void read_log(const fs::path& folder, const std::function<void(const Value& line)>& use) {
  each_line(log_of(folder), [&](std::string_view line) {
    if (const Value record = record_of(line); !record.is_null()) use(record);
  });
}

Value last_line(const fs::path& folder, std::string_view key, std::int64_t images) {
  return last_line_in(log_of(folder), key, images);
}

std::int64_t images_in_log(const fs::path& folder) {
  const Value last = last_line(folder, "loss");
  return last.is_null() ? 0 : last.find("images")->as_integer();
}

Value experiment_of(const Value& config) {
  Value result = config;
  for (const auto& [name, keys] : std::initializer_list<std::pair<const char*, std::set<std::string>>>{
           {"run", {"name", "seed", "directory", "threads"}},
           {"data", {"workers", "cache"}},
           {"log", {"tensorboard"}},
           {"checkpoint", {"in_background"}},
           {"plugins", {"used"}}}) {
    Value* table = result.find(name);
    if (table == nullptr || !table->is_table()) continue;
    std::erase_if(table->as_table(),
                  [&keys = keys](const Value::Member& member) { return keys.contains(member.first); });
  }
  return result;
}

Value images_of(const Value& config) {
  const Value* data = config.find("data");
  Value result = data != nullptr ? *data : Value(Value::Table{});
  std::erase_if(result.as_table(), [](const Value::Member& member) {
    const std::string& key = member.first;
    return key == "random_flip" || key == "workers" || key == "cache" || key == "label_dropout";
  });
  return result;
}

}  // namespace casdm
