#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "casdm/plugin_registrar.h"
#include "casdm/value.h"

namespace casdm {

/// What validation must know of the components that exist.
class ComponentCatalog {
 public:
  virtual ~ComponentCatalog() = default;

  /// The component of `kind` that `type` ("plugin/component", or "component" where only one plugin
  /// has it) names. Throws ConfigError with a message that says why not (unknown: the nearest
  /// names and where was looked; ambiguous: the libraries that have it).
  virtual const ComponentEntry& component(std::string_view kind, const std::string& type) const = 0;

  /// "plugin/component" for the same.
  virtual std::string full_name(std::string_view kind, const std::string& type) const = 0;

  /// What `type` can be for `kind`, the shortest unambiguous form of each, sorted.
  virtual std::vector<std::string> names(std::string_view kind) const = 0;
};

/// Checks `document` against `schema` and the schemas of the components it names, to the bottom.
/// Returns it with defaults filled in, component types in full, counts and floats in their plain
/// form and paths absolute: relative ones are taken from the folder of the file they stand in, or
/// from the working directory when they come from an override. Defaults stay as they are, and so
/// does `run.directory`, which is relative to the working directory whoever writes it.
///
/// Throws one ConfigError that lists every problem: file:line:column, key path, expected, got,
/// nearest name, and the plugin that owns the key.
Value resolve(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog);

/// A table resolved as a component of `kind` alone.
Value resolve_component(const Value& table, std::string_view kind, const ComponentCatalog& catalog);

}  // namespace casdm
