#include "framework/config/named_tables.h"

#include <algorithm>

namespace casdm {

namespace {

constexpr const char* kAnyName = ".*";  // as the `pattern` of a table

}  // namespace

OptionSpec named_tables(const OptionSpec& table, std::string name, std::string doc) {
  OptionSpec result;
  result.name = std::move(name);
  result.type = OptionType::table;
  result.doc = std::move(doc);
  result.pattern = kAnyName;
  result.fields = table.fields;
  result.component_kind = table.component_kind;
  return result;
}

bool is_named_tables(const OptionSpec& spec) { return spec.type == OptionType::table && spec.pattern == kAnyName; }

const OptionSpec* find_named_tables(const OptionSchema& fields) {
  const auto found = std::find_if(fields.begin(), fields.end(), is_named_tables);
  return found == fields.end() ? nullptr : &*found;
}

bool is_named_table(const OptionSchema& fields, std::string_view key, const Value& value) {
  if (!value.is_table() || find_named_tables(fields) == nullptr) return false;
  return std::none_of(fields.begin(), fields.end(),
                      [&](const OptionSpec& spec) { return spec.name == key && !is_named_tables(spec); });
}

}  // namespace casdm
