#include "framework/config/parse_toml.h"

#include <toml++/toml.h>

#include <algorithm>
#include <map>
#include <optional>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/toml_depth.h"
#include "framework/support/files.h"

namespace casdm {

namespace {

Location locate(const toml::source_region& source, const std::string& file, const std::string& key) {
  return {file, static_cast<int>(source.begin.line), static_cast<int>(source.begin.column), key};
}

/// Converts the result of toml++ to a Value.
class Converter {
 public:
  Converter(const std::string& file, ReadingBudget& budget) : file_(file), budget_(budget) {}

  Value convert(const toml::node& node, const std::string& key, std::size_t depth = 0) {
    const Location location = locate(node.source(), file_, key);
    budget_.add_value(location);
    if (depth > kDeepestNesting) fail_at(location, text("tables and arrays nest deeper than ", kDeepestNesting));
    Value value;
    if (const auto* table = node.as_table()) {
      value = convert_table(*table, key, depth);
    } else if (const auto* array = node.as_array()) {
      Value::Array elements;
      for (const toml::node& element : *array) {
        elements.push_back(convert(element, key_path(key, std::to_string(elements.size())), depth + 1));
      }
      value = std::move(elements);
    } else if (const auto* text_node = node.as_string()) {
      value = text_node->get();
    } else if (const auto* integer = node.as_integer()) {
      value = integer->get();
    } else if (const auto* floating = node.as_floating_point()) {
      value = floating->get();
    } else if (const auto* boolean = node.as_boolean()) {
      value = boolean->get();
    } else {
      fail_at(location, "dates and times are not supported; for a string, use quotes");
    }
    value.set_location(location);
    return value;
  }

 private:
  /// toml++ sorts keys by name; output and saved files should keep the order in which they were written.
  Value convert_table(const toml::table& table, const std::string& key, std::size_t depth) {
    std::vector<std::pair<const toml::key*, const toml::node*>> members;
    for (const auto& [name, node] : table) members.emplace_back(&name, &node);
    std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) {
      const toml::source_position& left = a.first->source().begin;
      const toml::source_position& right = b.first->source().begin;
      return std::pair(left.line, left.column) < std::pair(right.line, right.column);
    });
    Value::Table result;
    for (const auto& [name, node] : members) {
      const std::string member(name->str());
      result.emplace_back(member, convert(*node, key_path(key, member), depth + 1));
    }
    return result;
  }

  const std::string& file_;
  ReadingBudget& budget_;
};

/// toml++'s "Error while parsing key: ..." shows the character it met without escaping it.
[[noreturn]] void fail_to_parse(const toml::parse_error& error, const std::string& file) {
  fail_at(locate(error.source(), file, ""), text("not valid TOML: ", printable(error.description())));
}

}  // namespace

Value parse_toml(const std::string& toml, const std::string& file) {
  ReadingBudget budget;
  return parse_toml(toml, file, budget);
}

Value parse_toml(const std::string& toml, const std::string& file, ReadingBudget& budget) {
  budget.add_bytes(toml.size(), {file, 1, 1, ""});
  refuse_deep_nesting(toml, file);
  try {
    return Converter(file, budget).convert(toml::parse(toml, file), "");
  } catch (const toml::parse_error& error) {
    fail_to_parse(error, file);
  }
}

namespace {

/// Whether anything may follow the valid value `toml` on its last line that is not blank.
bool ends_in_comment(const std::string& toml) {
  if (toml.find('#') == std::string::npos) return false;
  try {
    static_cast<void>(toml::parse(text("value = ", toml.substr(0, toml.find_last_not_of("\r\n") + 1), "!")));
    return true;
  } catch (const toml::parse_error&) {
    return false;
  }
}

}  // namespace

Value parse_toml_value(const std::string& toml) {
  refuse_deep_nesting(toml, "");
  try {
    const toml::table table = toml::parse("value = " + toml);
    if (table.size() != 1) throw ConfigError("more than one value");
    if (ends_in_comment(toml)) throw ConfigError("a comment follows the value");
    ReadingBudget budget;
    return Converter("", budget).convert(*table.get("value"), "");
  } catch (const toml::parse_error& error) {
    throw ConfigError(printable(error.description()));
  }
}

struct KeyFinder::Files {
  std::map<std::string, std::optional<toml::table>> parsed;  ///< nothing: the file cannot be read again
};

KeyFinder::KeyFinder() : files_(std::make_unique<Files>()) {}
KeyFinder::~KeyFinder() = default;

Location KeyFinder::location(const Location& value) {
  if (value.line == 0) return value;
  const auto [known, is_new] = files_->parsed.try_emplace(value.file);
  if (is_new) {
    try {
      const std::string content = read_regular_file(value.file, kMostBytes);
      refuse_deep_nesting(content, value.file);
      known->second = toml::parse(content, value.file);
    } catch (const std::exception&) {
      known->second.reset();
    }
  }
  if (!known->second) return value;
  const toml::node* node = &*known->second;
  const toml::key* key = nullptr;
  for (const auto& [part, in_brackets] : split_key_path(value.key)) {
    key = nullptr;
    if (const auto* table = node->as_table()) {
      const auto found = table->find(part);
      if (found == table->end()) return value;
      key = &found->first;
      node = &found->second;
    } else if (const auto* array = node->as_array()) {
      node = array->get(index_of(part).value_or(array->size()));
    }
    if (node == nullptr) return value;
  }
  const Location found = locate(node->source(), value.file, value.key);
  if (key == nullptr || found.line != value.line || found.column != value.column) return value;
  return locate(key->source(), value.file, value.key);
}

}  // namespace casdm
