#include "framework/config/merge.h"

#include <algorithm>

#include "framework/config/experiment.h"
#include "framework/config/named_tables.h"

namespace casdm {

namespace {

/// "NAME" and "PLUGIN/NAME" may be the same component; only the catalog knows.
bool is_other_type(const Value& a, const Value& b) {
  if (!a.is_string() || !b.is_string()) return !(a == b);
  const auto bare = [](const std::string& type) { return type.substr(type.find('/') + 1); };
  const bool has_bare = a.as_string() == bare(a.as_string()) || b.as_string() == bare(b.as_string());
  return has_bare ? bare(a.as_string()) != bare(b.as_string()) : a.as_string() != b.as_string();
}

}  // namespace

const OptionSchema& host_schema() {
  static const OptionSchema schema = schema_of<Experiment>();
  return schema;
}

const OptionSchema* host_fields(const OptionSchema* schema, std::string_view key) {
  if (schema == nullptr) return nullptr;
  for (const OptionSpec& spec : *schema) {
    if (spec.name == key) return spec.element.empty() ? &spec.fields : &spec.element.front().fields;
  }
  const OptionSpec* named = find_named_tables(*schema);
  return named == nullptr ? nullptr : &named->fields;
}

void drop_old_component(Value& table, const Value& type, const OptionSchema* host) {
  const Value* old_type = table.find("type");
  if (old_type == nullptr || !is_other_type(*old_type, type)) return;
  std::erase_if(table.as_table(), [&](const Value::Member& member) {
    if (host == nullptr) return true;
    if (is_named_table(*host, member.first, member.second)) return false;
    return std::none_of(host->begin(), host->end(), [&](const OptionSpec& spec) { return spec.name == member.first; });
  });
}

void merge(Value& base, const Value& over, const OptionSchema* host) {
  if (const Value* type = over.find("type")) drop_old_component(base, *type, host);
  for (const auto& [key, value] : over.as_table()) {
    Value* old = base.find(key);
    if (old != nullptr && old->is_table() && value.is_table()) {
      merge(*old, value, host_fields(host, key));
    } else {
      base.set(key, value);
    }
  }
  base.set_location(over.location());
}

}  // namespace casdm
