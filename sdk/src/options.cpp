#include "casdm/options.h"

#include <charconv>
#include <cmath>

#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/plugin_description.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::string_view kTypeNames[] = {"boolean", "integer", "float", "count", "string", "path", "array", "table"};

OptionType type_from(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kTypeNames); ++i) {
    if (kTypeNames[i] == name) return static_cast<OptionType>(i);
  }
  throw Error(text("option type '", name, "' is unknown"));
}

Value value_of(const std::vector<OptionCondition>& conditions) {
  Value::Array array;
  for (const OptionCondition& condition : conditions) {
    array.push_back(
        Value(Value::Table{{"option", condition.option}, {condition.is_excluded ? "not" : "only", condition.values}}));
  }
  return array;
}

std::vector<OptionCondition> conditions_from(const Value& value) {
  std::vector<OptionCondition> conditions;
  for (const Value& item : value.as_array()) {
    const Value* option = item.find("option");
    const Value* excluded = item.find("not");
    const Value* values = excluded != nullptr ? excluded : item.find("only");
    if (option == nullptr || values == nullptr) throw Error("an option's condition lacks a part");
    conditions.push_back({option->as_string(), values->as_array(), excluded != nullptr});
  }
  return conditions;
}

}  // namespace

std::string_view to_string(OptionType type) { return kTypeNames[static_cast<std::size_t>(type)]; }

OptionSpec::OptionSpec() = default;
OptionSpec::OptionSpec(const OptionSpec& other) = default;
OptionSpec::OptionSpec(OptionSpec&& other) noexcept = default;
OptionSpec& OptionSpec::operator=(const OptionSpec& other) = default;
OptionSpec& OptionSpec::operator=(OptionSpec&& other) noexcept = default;
OptionSpec::~OptionSpec() = default;

OptionSpec& detail::add_option(OptionSchema& schema, OptionSpec spec, const std::string& name, const std::string& doc) {
  spec.name = name;
  spec.doc = doc;
  schema.push_back(std::move(spec));
  return schema.back();
}

OptionSpec& OptionSpec::range(double low, double high) {
  minimum = low;
  maximum = high;
  return *this;
}

OptionSpec& OptionSpec::at_least(double low) {
  minimum = low;
  return *this;
}

OptionSpec& OptionSpec::greater_than(double low) {
  minimum = low;
  exclusive_minimum = true;
  return *this;
}

OptionSpec& OptionSpec::less_than(double high) {
  maximum = high;
  exclusive_maximum = true;
  return *this;
}

OptionSpec& OptionSpec::may_be_infinite() {
  allows_infinite = true;
  return *this;
}

OptionSpec& OptionSpec::choices(std::vector<std::string> values) {
  if (values.empty()) throw Error(text("option ", name, ": no choices"));
  allowed.assign(values.begin(), values.end());
  return *this;
}

OptionSpec& OptionSpec::choices(std::initializer_list<std::int64_t> values) {
  allowed.assign(values.begin(), values.end());
  return *this;
}

OptionSpec& OptionSpec::matching(std::string regular_expression) {
  pattern = std::move(regular_expression);
  return *this;
}

OptionSpec& OptionSpec::at_most(std::string key) {
  at_most_key = std::move(key);
  return *this;
}

OptionSpec& OptionSpec::existing_path() {
  must_exist = true;
  return *this;
}

OptionSpec& OptionSpec::file_name() {
  is_file_name = true;
  return *this;
}

OptionSpec& OptionSpec::only_with(std::string option, std::vector<Value> values) {
  conditions.push_back({std::move(option), std::move(values), false});
  return *this;
}

OptionSpec& OptionSpec::not_with(std::string option, std::vector<Value> values) {
  if (values.empty() && option.find('.') != std::string::npos) {
    throw Error(text("option ", quoted(name), ": not_with(", quoted(option),
                     ") needs values, since the default at a key path is unknown here"));
  }
  conditions.push_back({std::move(option), std::move(values), true});
  return *this;
}

OptionSpec& OptionSpec::in_unit(std::string value) {
  unit = std::move(value);
  return *this;
}

OptionSpec& OptionSpec::example(Value value) {
  examples.push_back(std::move(value));
  return *this;
}

OptionSpec& OptionSpec::required() {
  is_required = true;
  default_value = Value();
  return *this;
}

Count read_count(const Value& value) {
  if (value.is_integer()) return value.as_integer();
  if (value.is_floating() && std::floor(value.as_number()) == value.as_number() && std::abs(value.as_number()) < 1e18) {
    return static_cast<std::int64_t>(value.as_number());
  }
  if (value.is_string()) {
    const std::string& written = value.as_string();
    std::int64_t whole = 0;
    const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), whole);
    if (error == std::errc() && end == written.data() + written.size()) return whole;
    std::size_t used = 0;
    double number = 0;
    try {
      number = std::stod(written, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    const std::string suffix = used > 0 ? written.substr(used) : "?";
    const double factor = suffix.empty() ? 1 : suffix == "k" ? 1e3 : suffix == "M" ? 1e6 : suffix == "G" ? 1e9 : 0;
    const double product = std::round(number * factor);
    if (factor > 0 && std::abs(number * factor - product) < 1e-6 && std::abs(product) < 1e18) {
      return static_cast<std::int64_t>(product);
    }
  }
  throw ConfigError("expected a whole number, also with a suffix k, M or G (\"200k\")");
}

Value to_value(const OptionSchema& schema) {
  Value::Array array;
  for (const OptionSpec& spec : schema) {
    Value item{Value::Table{}};
    if (!spec.name.empty()) item.set("name", spec.name);
    item.set("type", std::string(to_string(spec.type)));
    if (!spec.doc.empty()) item.set("doc", spec.doc);
    if (!spec.unit.empty()) item.set("unit", spec.unit);
    if (!spec.default_value.is_null()) item.set("default", spec.default_value);
    if (spec.is_required) item.set("required", true);
    if (spec.minimum) item.set("minimum", *spec.minimum);
    if (spec.maximum) item.set("maximum", *spec.maximum);
    if (spec.exclusive_minimum) item.set("exclusive_minimum", true);
    if (spec.exclusive_maximum) item.set("exclusive_maximum", true);
    if (spec.allows_infinite) item.set("infinite", true);
    if (!spec.allowed.empty()) item.set("choices", spec.allowed);
    if (!spec.pattern.empty()) item.set("pattern", spec.pattern);
    if (!spec.at_most_key.empty()) item.set("at_most", spec.at_most_key);
    if (spec.must_exist) item.set("must_exist", true);
    if (spec.is_file_name) item.set("file_name", true);
    if (!spec.conditions.empty()) item.set("conditions", value_of(spec.conditions));
    if (!spec.examples.empty()) item.set("examples", spec.examples);
    if (spec.length) item.set("length", static_cast<std::int64_t>(*spec.length));
    if (!spec.element.empty()) item.set("element", to_value(spec.element).as_array().front());
    if (!spec.fields.empty()) item.set("fields", to_value(spec.fields));
    if (!spec.component_kind.empty()) item.set("component", spec.component_kind);
    array.push_back(std::move(item));
  }
  return array;
}

OptionSchema schema_from_value(const Value& value) {
  OptionSchema schema;
  for (const Value& item : value.as_array()) {
    OptionSpec spec;
    if (const Value* v = item.find("name")) spec.name = v->as_string();
    const Value* type = item.find("type");
    if (type == nullptr) throw Error(text("option '", spec.name, "' has no type"));
    spec.type = type_from(type->as_string());
    if (const Value* v = item.find("doc")) spec.doc = v->as_string();
    if (const Value* v = item.find("unit")) spec.unit = v->as_string();
    if (const Value* v = item.find("default")) spec.default_value = *v;
    if (const Value* v = item.find("required")) spec.is_required = v->as_boolean();
    if (const Value* v = item.find("minimum")) spec.minimum = v->as_number();
    if (const Value* v = item.find("maximum")) spec.maximum = v->as_number();
    if (const Value* v = item.find("exclusive_minimum")) spec.exclusive_minimum = v->as_boolean();
    if (const Value* v = item.find("exclusive_maximum")) spec.exclusive_maximum = v->as_boolean();
    if (const Value* v = item.find("infinite")) spec.allows_infinite = v->as_boolean();
    if (const Value* v = item.find("choices")) spec.allowed = v->as_array();
    if (const Value* v = item.find("pattern")) spec.pattern = v->as_string();
    if (const Value* v = item.find("at_most")) spec.at_most_key = v->as_string();
    if (const Value* v = item.find("must_exist")) spec.must_exist = v->as_boolean();
    if (const Value* v = item.find("file_name")) spec.is_file_name = v->as_boolean();
    if (const Value* v = item.find("conditions")) spec.conditions = conditions_from(*v);
    if (const Value* v = item.find("examples")) spec.examples = v->as_array();
    if (const Value* v = item.find("length")) spec.length = static_cast<std::size_t>(v->as_integer());
    if (const Value* v = item.find("element")) spec.element = schema_from_value(Value::Array{*v});
    if (const Value* v = item.find("fields")) spec.fields = schema_from_value(*v);
    if (const Value* v = item.find("component")) spec.component_kind = v->as_string();
    schema.push_back(std::move(spec));
  }
  return schema;
}

std::vector<std::pair<std::string, std::string>> parse_stamp(std::string_view stamp) {
  std::vector<std::pair<std::string, std::string>> fields;
  std::istringstream lines{std::string(stamp)};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals != std::string::npos) fields.emplace_back(line.substr(0, equals), line.substr(equals + 1));
  }
  return fields;
}

const ComponentEntry* PluginDescription::find(std::string_view kind, std::string_view name) const {
  for (const ComponentEntry& component : components) {
    if (component.kind == kind && component.name == name) return &component;
  }
  return nullptr;
}

std::string to_json(const PluginDescription& description) {
  Value root{Value::Table{}};
  root.set("id", description.info.id);
  root.set("version", description.info.version);
  root.set("summary", description.info.summary);
  root.set("licence", description.info.licence);
  root.set("stamp", description.stamp);
  Value::Array components;
  for (const ComponentEntry& component : description.components) {
    Value item{Value::Table{}};
    item.set("kind", component.kind);
    item.set("name", component.name);
    item.set("doc", component.doc);
    item.set("interface_version", component.interface_version);
    item.set("options", to_value(component.options));
    if (component.is_recommended) item.set("recommended", true);
    components.push_back(std::move(item));
  }
  root.set("components", std::move(components));
  return to_json(root);
}

PluginDescription description_from_json(std::string_view json) {
  try {
    const Value root = from_json(json);
    const auto string = [](const Value& table, std::string_view key) {
      const Value* value = table.find(key);
      if (value == nullptr) throw Error(text("key '", key, "' is missing"));
      return value->as_string();
    };
    PluginDescription description;
    description.info = {string(root, "id"), string(root, "version"), string(root, "summary"), string(root, "licence")};
    description.stamp = string(root, "stamp");
    const Value* components = root.find("components");
    if (components == nullptr) throw Error("key 'components' is missing");
    for (const Value& item : components->as_array()) {
      ComponentEntry component;
      component.kind = string(item, "kind");
      component.name = string(item, "name");
      component.doc = string(item, "doc");
      if (const Value* version = item.find("interface_version")) {
        component.interface_version = static_cast<int>(version->as_integer());
      }
      if (const Value* recommended = item.find("recommended")) component.is_recommended = recommended->as_boolean();
      if (const Value* options = item.find("options")) component.options = schema_from_value(*options);
      description.components.push_back(std::move(component));
    }
    return description;
  } catch (const Error& error) {
    throw PluginError(text("the note's description is damaged: ", error.what()));
  }
}

namespace {

class Collector final : public PluginRegistrar {
 public:
  explicit Collector(PluginDescription& description) : description_(description) {}
  void describe(PluginInfo info) override {
    description_.info.summary = std::move(info.summary);
    description_.info.licence = std::move(info.licence);
  }
  ComponentEntry& add_entry(ComponentEntry entry) override {
    if (description_.find(entry.kind, entry.name) != nullptr) {
      throw PluginError(text("registers the ", entry.kind, " '", entry.name, "' twice"));
    }
    return description_.components.emplace_back(std::move(entry));
  }

 private:
  PluginDescription& description_;
};

}  // namespace

PluginDescription describe_plugin(const casdm_plugin& entry) {
  PluginDescription description;
  description.info.id = entry.id;
  description.info.version = entry.version;
  description.stamp = entry.stamp;
  Collector collector(description);
  entry.register_components(static_cast<PluginRegistrar*>(&collector));
  return description;
}

}  // namespace casdm
