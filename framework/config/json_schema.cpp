#include "framework/config/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "casdm/text.h"
#include "framework/config/named_tables.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

constexpr const char* kCountPattern = "^[0-9]+(\\.[0-9]+)?[kMG]?$";
constexpr const char* kFileNamePattern = "^(?!\\.{1,2}$)[^/]+$";

Value object(Value::Table members) { return Value(std::move(members)); }

/// The branch for a component without `type`: the keys of any component.
class AnyOf {
 public:
  void add(const std::string& key, Value value) {
    Value::Array& known = values_[key];
    if (std::find(known.begin(), known.end(), value) == known.end()) known.push_back(std::move(value));
    if (known.size() == 1) order_.push_back(key);
  }

  Value::Table properties() const {
    Value::Table result;
    for (const std::string& key : order_) {
      const Value::Array& known = values_.at(key);
      result.emplace_back(key, known.size() == 1 ? known.front() : object({{"anyOf", known}}));
    }
    return result;
  }

 private:
  std::map<std::string, Value::Array> values_;
  std::vector<std::string> order_;
};

class SchemaWriter {
 public:
  SchemaWriter(const ComponentCatalog& catalog, SchemaOf of) : catalog_(catalog), is_whole_(of == SchemaOf::whole) {}

  Value table(const OptionSchema& options, Value::Table properties = {}, std::vector<std::string> required = {}) {
    Value members{std::move(properties)};
    Value others = false;
    for (const OptionSpec& option : options) {
      if (is_named_tables(option)) {
        others = piece(option);
        continue;
      }
      members.set(option.name, described(option));
      if (option.is_required && is_whole_) required.push_back(option.name);
    }
    Value result =
        object({{"type", "object"}, {"properties", std::move(members)}, {"additionalProperties", std::move(others)}});
    if (!required.empty()) result.set("required", Value::Array(required.begin(), required.end()));
    return result;
  }

  const Value& definitions() const { return definitions_; }

 private:
  Value described(const OptionSpec& option) {
    Value result = plain(option);
    // Keys beside a $ref would be ignored.
    if (result.find("$ref") != nullptr) result = object({{"allOf", Value::Array{std::move(result)}}});
    // The elements of an array have no separate documentation.
    if (!option.doc.empty()) result.set("description", text(option.doc, " (", join(option_facts(option), "; "), ")"));
    if (!option.default_value.is_null() && option.type != OptionType::table)
      result.set("default", option.default_value);
    return result;
  }

  Value plain(const OptionSpec& option) {
    switch (option.type) {
      case OptionType::boolean:
        return object({{"type", "boolean"}});
      case OptionType::integer:
        if (!option.allowed.empty()) return object({{"enum", option.allowed}});
        return limited(object({{"type", "integer"}}), option);
      case OptionType::number:
        return limited(object({{"type", "number"}}), option);
      case OptionType::count:
        // 1e5 is a float in TOML, and not an integer in draft-04.
        return object({{"anyOf", Value::Array{limited(object({{"type", "number"}, {"multipleOf", 1}}), option),
                                              object({{"type", "string"}, {"pattern", kCountPattern}})}}});
      case OptionType::path:
        return object({{"type", "string"}});
      case OptionType::string:
        if (!option.allowed.empty()) return object({{"enum", option.allowed}});
        if (option.is_file_name) return object({{"type", "string"}, {"pattern", kFileNamePattern}});
        if (!option.pattern.empty())
          return object({{"type", "string"}, {"pattern", text("^(", option.pattern, ")?$")}});
        return object({{"type", "string"}});
      case OptionType::array:
        return array(option);
      case OptionType::table:
        break;
    }
    return option.component_kind.empty() ? table(option.fields) : component(option);
  }

  /// A piece, which may omit any key.
  Value piece(const OptionSpec& option) {
    const bool was_whole = std::exchange(is_whole_, false);
    Value result = described(option);
    is_whole_ = was_whole;
    return result;
  }

  /// Arrays are replaced as a whole when pieces are merged, so their elements are complete in every piece.
  Value array(const OptionSpec& option) {
    const bool was_whole = std::exchange(is_whole_, true);
    Value result = object({{"type", "array"}});
    if (!option.element.empty()) result.set("items", described(element_of(option)));
    if (option.length) {
      result.set("minItems", static_cast<std::int64_t>(*option.length));
      result.set("maxItems", static_cast<std::int64_t>(*option.length));
    }
    is_whole_ = was_whole;
    return result;
  }

  static Value limited(Value result, const OptionSpec& option) {
    const auto plain = [](double limit) {
      const bool is_whole = limit == std::floor(limit) && std::abs(limit) < 1e15;
      return is_whole ? Value(static_cast<std::int64_t>(limit)) : Value(limit);
    };
    if (option.minimum) result.set("minimum", plain(*option.minimum));
    if (option.minimum && option.exclusive_minimum) result.set("exclusiveMinimum", true);
    if (option.maximum) result.set("maximum", plain(*option.maximum));
    if (option.maximum && option.exclusive_maximum) result.set("exclusiveMaximum", true);
    return result;
  }

  /// A reference, since components may contain components, even of their own kind.
  Value component(const OptionSpec& option) {
    std::string name = (is_whole_ ? "whole." : "piece.") + option.component_kind;
    for (const OptionSpec& field : option.fields) name += "." + field.name;
    if (definitions_.find(name) == nullptr) {
      definitions_.set(name, object({}));
      Value::Array branches;
      AnyOf any;
      Value others = false;
      for (const OptionSpec& field : option.fields) {
        if (is_named_tables(field)) {
          others = piece(field);
        } else {
          any.add(field.name, described(field));
        }
      }
      for (const std::string& type : catalog_.names(option.component_kind)) {
        const ComponentEntry& entry = catalog_.component(option.component_kind, type);
        branches.push_back(branch(entry, type, catalog_.full_name(option.component_kind, type), option.fields));
        for (const OptionSpec& key : entry.options) any.add(key.name, described(key));
      }
      // A piece may leave `type` to another file; if there is a default, `type` is always optional.
      const bool is_optional = option.default_value.find("type") != nullptr;
      if (!is_whole_ || is_optional) {
        branches.push_back(without_type(any.properties(), std::move(others),
                                        is_optional ? "the default type" : "type in another file"));
      }
      definitions_.set(name, object({{"oneOf", std::move(branches)}}));
    }
    return object({{"$ref", "#/definitions/" + name}});
  }

  Value branch(const ComponentEntry& entry, const std::string& type, const std::string& full_name,
               const OptionSchema& fields) {
    OptionSchema keys = fields;
    keys.insert(keys.end(), entry.options.begin(), entry.options.end());
    Value::Array types{type};
    if (type != full_name) types.push_back(full_name);
    Value result = table(keys, {{"type", object({{"enum", std::move(types)}, {"description", entry.doc}})}}, {"type"});
    result.set("title", type);
    return result;
  }

  static Value without_type(Value::Table properties, Value others, const char* title) {
    return object({{"title", title},
                   {"type", "object"},
                   {"properties", std::move(properties)},
                   {"additionalProperties", std::move(others)},
                   {"not", object({{"required", Value::Array{"type"}}})}});
  }

  const ComponentCatalog& catalog_;
  bool is_whole_;
  Value definitions_{Value::Table{}};
};

}  // namespace

Value json_schema(const OptionSchema& schema, const ComponentCatalog& catalog, SchemaOf of, const std::string& title) {
  SchemaWriter writer(catalog, of);
  const Value name = object({{"type", "string"}});
  const Value include = object({{"anyOf", Value::Array{name, object({{"type", "array"}, {"items", name}})}},
                                {"description", "Files merged under this one, in order; paths are relative to it."}});
  Value root = writer.table(schema, {{"include", include}});
  root.set("definitions", writer.definitions());
  Value result = object({{"$schema", "http://json-schema.org/draft-04/schema#"}, {"title", title}});
  for (const auto& [key, value] : root.as_table()) result.set(key, value);
  return result;
}

}  // namespace casdm
