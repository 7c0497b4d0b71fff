#include "framework/config/walk.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/named_tables.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

struct KeyedPlace {
  Location location;
  std::string key;
};

class Walk {
 public:
  Walk(const ComponentCatalog& catalog, const Visitors& visitors, Missing missing)
      : catalog_(catalog), visitors_(visitors), missing_(missing) {}

  /// @param outer  see VisitedTable
  void table(const Value& value, const OptionSpec& spec, const KeyedPlace& place, const Value* outer) const {
    const Value* type = value.find("type");
    const Value* outer_type = outer != nullptr ? outer->find("type") : nullptr;
    const bool is_other = type != nullptr && outer_type != nullptr && *type != *outer_type;
    members(value, spec.fields, place, outer, named_in(value, spec.fields, nullptr));
    const Value* chosen = type != nullptr ? type : outer_type;
    if (spec.component_kind.empty() || chosen == nullptr || !chosen->is_string()) return;
    if (type != nullptr && visitors_.component) visitors_.component(value, spec.component_kind, place.key);
    if (const ComponentEntry* component = component_of(spec.component_kind, chosen->as_string())) {
      members(value, component->options, place, is_other ? nullptr : outer, named_in(value, spec.fields, chosen));
    }
  }

 private:
  const ComponentEntry* component_of(const std::string& kind, const std::string& type) const {
    try {
      return &catalog_.component(kind, type);
    } catch (const Error&) {
      if (missing_ == Missing::refused) throw;
      return nullptr;
    }
  }

  /// The tables in `value` under names of the user.
  /// @param type  only those with the same component; null: all
  static std::vector<const Value*> named_in(const Value& value, const OptionSchema& fields, const Value* type) {
    std::vector<const Value*> result;
    for (const auto& [key, member] : value.as_table()) {
      if (!is_named_table(fields, key, member)) continue;
      const Value* own = member.find("type");
      if (type == nullptr || own == nullptr || *own == *type) result.push_back(&member);
    }
    return result;
  }

  void members(const Value& table, const OptionSchema& schema, const KeyedPlace& place, const Value* outer,
               std::vector<const Value*> inheriting) const {
    if (visitors_.table) visitors_.table({table, schema, place.location, place.key, outer, std::move(inheriting)});
    for (const OptionSpec& spec : schema) {
      if (is_named_tables(spec)) {
        for (const auto& [key, value] : table.as_table()) {
          if (is_named_table(schema, key, value)) one(value, spec, inside(place, value, key), &table);
        }
      } else if (const Value* value = table.find(spec.name)) {
        one(*value, spec, inside(place, *value, spec.name), nullptr);
      }
    }
  }

  void one(const Value& value, const OptionSpec& spec, const KeyedPlace& place, const Value* outer) const {
    if (value.is_array()) {
      const OptionSpec element = element_of(spec);
      for (std::size_t i = 0; i < value.as_array().size(); ++i) {
        const Value& item = value.as_array()[i];
        one(item, element, {place_in(place.location, item, std::to_string(i)), text(place.key, '[', i, ']')}, nullptr);
      }
    } else if (value.is_table()) {
      table(value, spec, place, outer);
    } else if (visitors_.value) {
      visitors_.value(value, spec, place.location);
    }
  }

  static KeyedPlace inside(const KeyedPlace& table, const Value& value, const std::string& key) {
    return {place_in(table.location, value, key), key_path(table.key, key)};
  }

  const ComponentCatalog& catalog_;
  const Visitors& visitors_;
  Missing missing_;
};

}  // namespace

void walk(const Value& experiment, const OptionSchema& schema, const ComponentCatalog& catalog,
          const Visitors& visitors, Missing missing) {
  OptionSpec root;
  root.fields = schema;
  Walk(catalog, visitors, missing).table(experiment, root, {experiment.location(), ""}, nullptr);
}

Location place_in(Location table, const Value& value, const std::string& key) {
  if (!value.location().file.empty()) return value.location();
  table.key = key_path(table.key, key);
  return table;
}

}  // namespace casdm
