#include "framework/training/experiment_change.h"

#include "casdm/text.h"
#include "framework/config/document.h"

namespace casdm {

namespace {

constexpr const char* kWrittenByHost = "plugins.used";

void compare(const Value& before, const Value& after, const std::string& key, std::vector<ExperimentChange>& found);

void compare_tables(const Value& before, const Value& after, const std::string& key,
                    std::vector<ExperimentChange>& found) {
  const Value none;
  const auto path = [&](const std::string& name) { return key.empty() ? name : key + "." + name; };
  for (const auto& [name, value] : before.as_table()) {
    const Value* other = after.find(name);
    compare(value, other == nullptr ? none : *other, path(name), found);
  }
  for (const auto& [name, value] : after.as_table()) {
    if (before.find(name) == nullptr) compare(none, value, path(name), found);
  }
}

void compare(const Value& before, const Value& after, const std::string& key, std::vector<ExperimentChange>& found) {
  if (key == kWrittenByHost) return;
  if (before.is_table() && after.is_table()) return compare_tables(before, after, key, found);
  if (before.is_array() && after.is_array() && before.as_array().size() == after.as_array().size()) {
    for (std::size_t i = 0; i < before.as_array().size(); ++i) {
      compare(before.as_array()[i], after.as_array()[i], text(key, '[', i, ']'), found);
    }
    return;
  }
  const bool is_same_number = before.is_number() && after.is_number() && before.as_number() == after.as_number();
  if (!is_same_number && !(before == after)) found.push_back({key, before, after});
}

std::string shown(const Value& value) { return value.is_null() ? "not set" : to_toml_value(value); }

}  // namespace

std::vector<ExperimentChange> changes(const Value& before, const Value& after) {
  std::vector<ExperimentChange> found;
  compare(before, after, "", found);
  return found;
}

std::string to_string(const ExperimentChange& change) {
  return text(change.key, ": ", shown(change.before), " -> ", shown(change.after));
}

Value to_value(const std::vector<ExperimentChange>& changes) {
  Value result{Value::Table{}};
  for (const ExperimentChange& change : changes) {
    Value entry{Value::Table{}};
    entry.set("from", change.before);
    entry.set("to", change.after);
    result.set(change.key, std::move(entry));
  }
  return result;
}

}  // namespace casdm
