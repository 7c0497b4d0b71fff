#include "framework/config/example.h"

#include <algorithm>
#include <utility>

#include "casdm/error.h"
#include "framework/config/limits.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

/// Writes examples of components inside one another.
class ExampleWriter {
 public:
  explicit ExampleWriter(const ComponentCatalog& catalog) : catalog_(catalog) {}

  Value value(const OptionSpec& option) {
    if (!option.examples.empty()) return option.examples.front();
    if (!option.default_value.is_null()) return option.default_value;
    if (!option.allowed.empty()) return option.allowed.front();
    switch (option.type) {
      case OptionType::boolean:
        return false;
      case OptionType::integer:
      case OptionType::count:
        return static_cast<std::int64_t>(option.minimum.value_or(1)) + (option.exclusive_minimum ? 1 : 0);
      case OptionType::number:
        return option.minimum.value_or(0.0) + (option.exclusive_minimum ? 1.0 : 0.0);
      case OptionType::string:
        return "name";
      case OptionType::path:
        return "path/to/it";
      case OptionType::table:
        return table(option);
      case OptionType::array:
        break;
    }
    return array(option);
  }

  Value component(std::string_view kind, const std::string& type, const OptionSchema& fields) {
    Value result{Value::Table{}};
    result.set("type", type);
    const auto add = [&](const OptionSchema& options) {
      for (const OptionSpec& option : options) {
        if (option.is_required || !option.examples.empty()) result.set(option.name, value(option));
      }
    };
    if (!type.empty()) {
      const std::string outer = std::exchange(owner_, with_plugin(catalog_.full_name(kind, type)));
      ++depth_;
      add(catalog_.component(kind, type).options);
      --depth_;
      owner_ = outer;
    }
    add(fields);
    return result;
  }

 private:
  Value table(const OptionSpec& table) {
    if (!table.component_kind.empty()) {
      if (depth_ == kDeepestComponents) throw ConfigError(nested_too_deeply(table, owner_));
      return component(table.component_kind, simplest_component(table.component_kind, catalog_), table.fields);
    }
    Value result{Value::Table{}};
    for (const OptionSpec& field : table.fields) {
      if (field.is_required) result.set(field.name, value(field));
    }
    return result;
  }

  Value array(const OptionSpec& option) {
    if (option.element.empty()) return Value::Array{};
    return Value::Array(option.length.value_or(1), value(element_of(option)));
  }

  const ComponentCatalog& catalog_;
  std::string owner_;      ///< "NAME (plugin ID)" while its options are visited
  std::size_t depth_ = 0;  ///< components whose options are being visited
};

}  // namespace

Value example_value(const OptionSpec& option, const ComponentCatalog& catalog) {
  return ExampleWriter(catalog).value(option);
}

Value example_component(std::string_view kind, const std::string& type, const OptionSchema& fields,
                        const ComponentCatalog& catalog) {
  return ExampleWriter(catalog).component(kind, type, fields);
}

std::vector<std::string> recommended_components(std::string_view kind, const ComponentCatalog& catalog) {
  std::vector<std::string> names = catalog.names(kind);
  std::erase_if(names, [&](const std::string& name) { return !catalog.component(kind, name).is_recommended; });
  return names;
}

std::string recommended_component(std::string_view kind, const ComponentCatalog& catalog) {
  const std::vector<std::string> names = recommended_components(kind, catalog);
  return names.empty() ? "" : names.front();
}

std::string simplest_component(std::string_view kind, const ComponentCatalog& catalog) {
  const std::vector<std::string> names = catalog.names(kind);
  const auto needs_more = [&](const std::string& name) {
    const OptionSchema& options = catalog.component(kind, name).options;
    return std::any_of(options.begin(), options.end(),
                       [](const OptionSpec& option) { return option.is_required || !option.component_kind.empty(); });
  };
  const auto found = std::find_if_not(names.begin(), names.end(), needs_more);
  return found != names.end() ? *found : names.empty() ? "" : names.front();
}

bool is_table_array(const OptionSpec& option) {
  return option.type == OptionType::array && !option.element.empty() &&
         option.element.front().type == OptionType::table;
}

}  // namespace casdm
