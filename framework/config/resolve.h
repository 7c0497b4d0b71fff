#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "casdm/plugin_registrar.h"
#include "casdm/value.h"
#include "framework/config/missing.h"

namespace casdm {

/// What validation needs to know about the available components.
class ComponentCatalog {
 public:
  virtual ~ComponentCatalog() = default;

  /// The component of `kind` named by `type` ("plugin/component", or "component" if only one plugin has it). Throws
  /// ConfigError that says why there is none (unknown: the nearest names and where it searched; ambiguous: the
  /// libraries that have it).
  virtual const ComponentEntry& component(std::string_view kind, const std::string& type) const = 0;

  /// The full name, "plugin/component".
  virtual std::string full_name(std::string_view kind, const std::string& type) const = 0;

  /// The possible values of `type` for `kind`, each in its shortest unambiguous form, sorted.
  virtual std::vector<std::string> names(std::string_view kind) const = 0;
};

/// Checks `document` against `schema` and the schemas of the components it names, at all levels. Returns it with
/// defaults filled in, component types in full, counts and floats in their plain form and absolute paths: relative
/// paths are resolved against the folder of the file that contains them or, if they come from an override, against the
/// working directory. Defaults stay as they are, and so does `run.directory`, which is always relative to the working
/// directory.
///
/// Throws one ConfigError that lists every problem: file:line:column, key path, expected, got,
/// nearest name, and the plugin that owns the key.
Value resolve(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog,
              Missing missing = Missing::refused);

Value resolve_component(const Value& table, std::string_view kind, const ComponentCatalog& catalog);

}  // namespace casdm
