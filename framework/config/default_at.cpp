#include "framework/config/default_at.h"

#include <algorithm>
#include <optional>

#include "casdm/error.h"
#include "framework/config/example.h"
#include "framework/config/experiment.h"
#include "framework/config/key_path.h"
#include "framework/config/named_tables.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

const OptionSpec* option_named(const OptionSchema& options, const std::string& name) {
  const auto found = std::find_if(options.begin(), options.end(), [&](const OptionSpec& option) {
    return option.name == name && !is_named_tables(option);
  });
  return found == options.end() ? nullptr : &*found;
}

/// The `type` of a table that leaves it out.
std::string default_type(const OptionSpec& table, const ComponentCatalog& catalog) {
  const std::string& kind = table.component_kind;
  const Value* type = table.default_value.find("type");
  if (type == nullptr || !type->is_string()) return "";
  if (!type->as_string().empty()) return catalog.full_name(kind, type->as_string());
  const std::string recommended = recommended_component(kind, catalog);
  return catalog.full_name(kind, recommended.empty() ? simplest_component(kind, catalog) : recommended);
}

/// The option `name` of a table; none: it is unknown, or has no default, as in the tables under a user's name.
/// @param value  the table; null: the experiment lacks it
std::optional<OptionSpec> option_in(const OptionSpec& table, const Value* value, const std::string& name,
                                    const ComponentCatalog& catalog) {
  if (name == "type" && !table.component_kind.empty()) {
    OptionSpec type;
    type.default_value = default_type(table, catalog);
    return type;
  }
  const OptionSpec* option = option_named(table.fields, name);
  const Value* chosen = value == nullptr ? nullptr : value->find("type");
  if (option == nullptr && !table.component_kind.empty() && chosen != nullptr && chosen->is_string()) {
    option = option_named(catalog.component(table.component_kind, chosen->as_string()).options, name);
  }
  if (option == nullptr) return std::nullopt;
  OptionSpec found = *option;
  if (const Value* outer = table.default_value.find(name)) found.default_value = *outer;
  return found;
}

/// 1 equals 1.0, in arrays, too.
bool equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.as_number() == b.as_number();
  if (!a.is_array() || !b.is_array()) return a == b;
  return std::equal(a.as_array().begin(), a.as_array().end(), b.as_array().begin(), b.as_array().end(), equals);
}

bool matches_default(const Value& value, const OptionSpec& option, const ComponentCatalog& catalog) {
  if (value.is_table() && option.type == OptionType::table) {
    return std::all_of(value.as_table().begin(), value.as_table().end(), [&](const Value::Member& member) {
      const std::optional<OptionSpec> own = option_in(option, &value, member.first, catalog);
      return own && matches_default(member.second, *own, catalog);
    });
  }
  return !option.default_value.is_null() && equals(value, option.default_value);
}

const Value* part_of(const Value* value, const KeyPart& part) {
  if (value == nullptr) return nullptr;
  if (value->is_table()) return value->find(part.name);
  const std::optional<std::size_t> index = index_of(part.name);
  const bool is_there = value->is_array() && index && *index < value->as_array().size();
  return is_there ? &value->as_array()[*index] : nullptr;
}

}  // namespace

bool is_default_at(const std::string& key, const Value& value, const Value& experiment,
                   const ComponentCatalog& catalog) {
  std::optional<OptionSpec> option(std::in_place);
  option->type = OptionType::table;
  option->fields = schema_of<Experiment>();
  const Value* at = &experiment;
  try {
    for (const KeyPart& part : split_key_path(key)) {
      if (option->type == OptionType::array) {
        option = element_of(*option);
      } else {
        option = option_in(*option, at, part.name, catalog);
      }
      if (!option) return false;
      at = part_of(at, part);
    }
    return matches_default(value, *option, catalog);
  } catch (const Error&) {  // no such component
    return false;
  }
}

}  // namespace casdm
