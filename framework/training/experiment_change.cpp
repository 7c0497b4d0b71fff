#include "framework/training/experiment_change.h"

#include <algorithm>
#include <string_view>

#include "casdm/text.h"
#include "framework/config/default_at.h"
#include "framework/config/document.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace {

constexpr const char* kWrittenByHost = "plugins.used";
constexpr std::string_view kType = ".type";

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

}  // namespace

std::vector<ExperimentChange> changes(const Value& before, const Value& after) {
  std::vector<ExperimentChange> found;
  compare(before, after, "", found);
  return found;
}

std::vector<ExperimentChange> by_component(const std::vector<ExperimentChange>& changes) {
  std::vector<std::string> others;  // "head." if the head's type changed
  for (const ExperimentChange& change : changes) {
    const bool is_type = change.key.ends_with(kType) && change.before.is_string() && change.after.is_string();
    if (is_type) others.push_back(change.key.substr(0, change.key.size() - kType.size() + 1));
  }
  std::vector<ExperimentChange> result;
  for (const ExperimentChange& change : changes) {
    const auto holds = [&](const std::string& other) { return change.key.starts_with(other); };
    const auto other = std::find_if(others.begin(), others.end(), holds);
    if (other == others.end()) {
      result.push_back(change);
    } else if (change.key.size() == other->size() - 1 + kType.size() && change.key.ends_with(kType)) {
      const auto of_type = [](const Value& type) { return Value(Value::Table{{std::string(kType.substr(1)), type}}); };
      result.push_back({other->substr(0, other->size() - 1), of_type(change.before), of_type(change.after)});
    }
  }
  return result;
}

std::string in_few_words(const Value& value) {
  if (value.is_null()) return "not set";
  std::vector<std::string> parts;
  if (value.is_table()) {
    const Value* type = value.find(kType.substr(1));
    if (type != nullptr && type->is_string()) return component_name(type->as_string());
    for (const auto& [name, member] : value.as_table()) parts.push_back(name);
    return text("{ ", join(parts, ", "), " }");
  }
  if (!value.is_array()) return to_toml_value(value);
  for (const Value& element : value.as_array()) parts.push_back(in_few_words(element));
  return text("[", join(parts, ", "), "]");
}

std::string to_string(const ExperimentChange& change) {
  std::string before = in_few_words(change.before), after = in_few_words(change.after);
  if (before == after) {  // the short form hides the difference: in the plugin, or in an option of one array element
    before = to_toml_value(change.before);
    after = to_toml_value(change.after);
  }
  return text(change.key, ": ", before, " -> ", after);
}

bool is_new_default(const ExperimentChange& change, const Value& experiment, const ComponentCatalog& catalog) {
  return change.before.is_null() && is_default_at(change.key, change.after, experiment, catalog);
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
