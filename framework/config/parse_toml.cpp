#include "framework/config/parse_toml.h"

#include <toml++/toml.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"

namespace casdm {

namespace {

constexpr int kDeepest = 64;
constexpr std::ptrdiff_t kMostDots = 2000;

Location locate(const toml::source_region& source, const std::string& file, const std::string& key) {
  return {file, static_cast<int>(source.begin.line), static_cast<int>(source.begin.column), key};
}

Value convert(const toml::node& node, const std::string& file, const std::string& key, int depth = 0);

/// toml++ sorts keys by name; what is shown and saved keeps the order in which they were written.
Value convert_table(const toml::table& table, const std::string& file, const std::string& key, int depth) {
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
    result.emplace_back(member, convert(*node, file, key_path(key, member), depth + 1));
  }
  return result;
}

Value convert(const toml::node& node, const std::string& file, const std::string& key, int depth) {
  const Location location = locate(node.source(), file, key);
  if (depth > kDeepest) fail_at(location, text("tables and arrays nest deeper than ", kDeepest));
  Value value;
  if (const auto* table = node.as_table()) {
    value = convert_table(*table, file, key, depth);
  } else if (const auto* array = node.as_array()) {
    Value::Array elements;
    for (const toml::node& element : *array) {
      elements.push_back(convert(element, file, key_path(key, std::to_string(elements.size())), depth + 1));
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
    fail_at(location, "dates and times have no use here; for a string, put it in quotes");
  }
  value.set_location(location);
  return value;
}

/// toml++ limits how deep values nest, but not dotted keys, and overflows the stack on many.
void refuse_endless_keys(const std::string& toml, const std::string& file) {
  int line = 1;
  for (std::size_t begin = 0; begin < toml.size(); ++line) {
    const std::size_t end = std::min(toml.find('\n', begin), toml.size());
    if (std::count(toml.begin() + begin, toml.begin() + end, '.') > kMostDots) {
      fail_at({file, line, 1, ""}, text("a line has more than ", kMostDots, " dots"));
    }
    begin = end + 1;
  }
}

}  // namespace

Value parse_toml(const std::string& toml, const std::string& file) {
  refuse_endless_keys(toml, file);
  try {
    return convert(toml::parse(toml, file), file, "");
  } catch (const toml::parse_error& error) {
    fail_at(locate(error.source(), file, ""), text("no valid TOML: ", error.description()));
  }
}

Value parse_toml_value(const std::string& toml) {
  try {
    refuse_endless_keys(toml, "");
    const toml::table table = toml::parse("value = " + toml);
    if (table.size() != 1) throw ConfigError("more than one value");
    return convert(*table.get("value"), "", "");
  } catch (const toml::parse_error& error) {
    throw ConfigError(std::string(error.description()));
  }
}

Location key_location(const Location& value) {
  if (value.line == 0) return value;
  try {
    const toml::table root = toml::parse_file(value.file);
    const toml::node* node = &root;
    const toml::key* key = nullptr;
    for (const std::string& part : split_key_path(value.key)) {
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
  } catch (const std::exception&) {
    return value;
  }
}

}  // namespace casdm
