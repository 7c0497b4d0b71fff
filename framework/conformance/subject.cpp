#include <filesystem>

#include "casdm/text.h"
#include "framework/config/overrides.h"
#include "framework/conformance/conformance.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance {

namespace {

/// The defaults of `options`, examples for options without one, and stand-ins in the slots of components. Optional
/// tables are left out.
Value defaults(const OptionSchema& options) {
  Value table{Value::Table{}};
  for (const OptionSpec& option : options) {
    if (option.type == OptionType::table) {
      const bool is_left_out = option.component_kind.empty() && !option.is_required && option.default_value.is_null();
      if (is_left_out) continue;
      Value inner = defaults(option.fields);
      if (!option.component_kind.empty()) inner.set("type", kStandIn);
      table.set(option.name, inner);
    } else if (!option.default_value.is_null()) {
      table.set(option.name, option.default_value);
    } else if (option.is_required && !option.examples.empty() && option.type != OptionType::path) {
      table.set(option.name, option.examples.front());
    }
  }
  return table;
}

void require_complete(const ComponentEntry& entry, const Value& table) {
  for (const OptionSpec& option : entry.options) {
    if (!option.is_required || table.find(option.name) != nullptr) continue;
    throw NotTested(text("option '", option.name, "' has no default; give it one by --set ", entry.name, '/',
                         option.name, "=... (in CMake: CHECK_SET)"));
  }
}

/// Resolves the paths of files against `folder`, whatever the working directory is when they are used.
void make_absolute(const OptionSchema& options, const std::filesystem::path& folder, Value& table) {
  for (const OptionSpec& option : options) {
    Value* value = table.find(option.name);
    if (value == nullptr) continue;
    if (option.type == OptionType::path && value->is_string()) {
      std::error_code error;
      const std::filesystem::path file = folder / value->as_string();
      if (std::filesystem::exists(file, error)) *value = file.string();
    } else if (option.type == OptionType::table && value->is_table()) {
      make_absolute(option.fields, folder, *value);
    }
  }
}

void merge(Value& target, const Value& source) {
  for (const auto& [key, value] : source.as_table()) {
    Value* old = target.find(key);
    if (old != nullptr && old->is_table() && value.is_table()) {
      merge(*old, value);
    } else {
      target.set(key, value);
    }
  }
}

}  // namespace

Subject::Subject(const PluginHost& host, const FoundPlugin& plugin, const ComponentEntry& entry,
                 const std::vector<std::string>& overrides, std::uint64_t seed, const TestDevice& device)
    : plugin_(plugin),
      entry_(entry),
      seed_(seed),
      device_(device),
      folder_(std::filesystem::current_path()),
      factory_(std::make_shared<StandInFactory>(host)) {
  for (const std::string& override : overrides) {
    const std::size_t slash = override.substr(0, override.find('=')).find('/');
    if (slash == std::string::npos) {
      overrides_.push_back(override);
    } else if (override.substr(0, slash) == entry.name) {
      overrides_.push_back(override.substr(slash + 1));
    }
  }
}

ComponentConfig Subject::config(const Value& table) const {
  Value options = defaults(entry_.options);
  apply_overrides(options, overrides_);
  make_absolute(entry_.options, folder_, options);
  merge(options, table);
  require_complete(entry_, options);
  const std::string type = plugin_.description.info.id + "/" + entry_.name;
  options.set("type", type);
  return {type, options};
}

std::shared_ptr<void> Subject::make_default(const Value& table) const {
  const Suite* suite = find_suite(entry_.kind);
  if (suite == nullptr) throw Failure(text("there are no conformance tests for the kind '", entry_.kind, "'"));
  return suite->make(*this, table);
}

std::shared_ptr<Module> Subject::make_module() const {
  const Suite* suite = find_suite(entry_.kind);
  return suite == nullptr || suite->make_module == nullptr ? nullptr : suite->make_module(*this);
}

void require(bool good, const std::string& message) {
  if (!good) throw Failure(message);
}

}  // namespace casdm::conformance
