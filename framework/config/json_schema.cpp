#include "framework/config/json_schema.h"

#include <cmath>

#include "casdm/text.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

Value object(Value::Table members) { return Value(std::move(members)); }

class SchemaWriter {
 public:
  explicit SchemaWriter(const ComponentCatalog& catalog) : catalog_(catalog) {}

  Value table(const OptionSchema& options, Value::Table properties = {}) {
    Value members{std::move(properties)};
    for (const OptionSpec& option : options) members.set(option.name, described(option));
    return object({{"type", "object"}, {"properties", std::move(members)}, {"additionalProperties", false}});
  }

  const Value& definitions() const { return definitions_; }

 private:
  Value described(const OptionSpec& option) {
    Value result = plain(option);
    const std::string unit = option.unit.empty() ? "" : text(" [", option.unit, "]");
    // Draft-07 ignores what stands beside a $ref.
    if (result.find("$ref") != nullptr) result = object({{"allOf", Value::Array{std::move(result)}}});
    if (!option.doc.empty()) result.set("description", option.doc + unit);
    if (!option.default_value.is_null() && option.type != OptionType::table)
      result.set("default", option.default_value);
    if (!option.examples.empty()) result.set("examples", option.examples);
    return result;
  }

  Value plain(const OptionSpec& option) {
    switch (option.type) {
      case OptionType::boolean:
        return object({{"type", "boolean"}});
      case OptionType::integer:
        return limited(object({{"type", "integer"}}), option);
      case OptionType::number:
        return limited(object({{"type", "number"}}), option);
      case OptionType::count:
        return object(
            {{"anyOf", Value::Array{limited(object({{"type", "integer"}}), option),
                                    object({{"type", "string"}, {"pattern", "^[0-9]+(\\.[0-9]+)?[kMG]?$"}})}}});
      case OptionType::path:
        return object({{"type", "string"}});
      case OptionType::string:
        if (option.allowed.empty()) return object({{"type", "string"}});
        return object({{"enum", Value::Array(option.allowed.begin(), option.allowed.end())}});
      case OptionType::array:
        return array(option);
      case OptionType::table:
        break;
    }
    return option.component_kind.empty() ? table(option.fields) : component(option);
  }

  Value array(const OptionSpec& option) {
    Value result = object({{"type", "array"}});
    if (!option.element.empty()) result.set("items", described(element_of(option)));
    if (option.length) {
      result.set("minItems", static_cast<std::int64_t>(*option.length));
      result.set("maxItems", static_cast<std::int64_t>(*option.length));
    }
    return result;
  }

  static Value limited(Value result, const OptionSpec& option) {
    const auto plain = [](double limit) {
      const bool is_whole = limit == std::floor(limit) && std::abs(limit) < 1e15;
      return is_whole ? Value(static_cast<std::int64_t>(limit)) : Value(limit);
    };
    if (option.minimum) result.set(option.exclusive_minimum ? "exclusiveMinimum" : "minimum", plain(*option.minimum));
    if (option.maximum) result.set("maximum", plain(*option.maximum));
    return result;
  }

  /// A reference: components contain components, also of their own kind.
  Value component(const OptionSpec& option) {
    std::string name = option.component_kind;
    for (const OptionSpec& field : option.fields) name += "." + field.name;
    if (definitions_.find(name) == nullptr) {
      definitions_.set(name, object({}));
      Value::Array branches;
      for (const std::string& type : catalog_.names(option.component_kind)) {
        const ComponentEntry& entry = catalog_.component(option.component_kind, type);
        OptionSchema keys = option.fields;
        keys.insert(keys.end(), entry.options.begin(), entry.options.end());
        const Value types = Value::Array{type, catalog_.full_name(option.component_kind, type)};
        Value branch = table(keys, {{"type", object({{"enum", types}, {"description", entry.doc}})}});
        branch.set("title", type);
        branch.set("required", Value::Array{"type"});
        branches.push_back(std::move(branch));
      }
      // A piece may leave `type` to another file.
      branches.push_back(object({{"type", "object"}, {"not", object({{"required", Value::Array{"type"}}})}}));
      definitions_.set(name, object({{"oneOf", std::move(branches)}}));
    }
    return object({{"$ref", "#/definitions/" + name}});
  }

  const ComponentCatalog& catalog_;
  Value definitions_{Value::Table{}};
};

}  // namespace

Value json_schema(const OptionSchema& schema, const ComponentCatalog& catalog) {
  SchemaWriter writer(catalog);
  const Value name = object({{"type", "string"}});
  const Value include = object({{"anyOf", Value::Array{name, object({{"type", "array"}, {"items", name}})}},
                                {"description", "Pieces merged under this file, in order; relative to it."}});
  Value root = writer.table(schema, {{"include", include}});
  root.set("definitions", writer.definitions());
  Value result = object({{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", "casdm experiment"}});
  for (const auto& [key, value] : root.as_table()) result.set(key, value);
  return result;
}

}  // namespace casdm
