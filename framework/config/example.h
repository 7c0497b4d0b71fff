#pragma once

#include <string>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// A value that `option` takes: its first example, its default, or the simplest of its type.
Value example_value(const OptionSpec& option, const ComponentCatalog& catalog);

/// A table that chooses the component `type` of `kind` and resolves: keys that are required or have an example, nested
/// components included.
/// @param fields  the host's keys of the table, of which the required ones are written too
Value example_component(std::string_view kind, const std::string& type, const OptionSchema& fields,
                        const ComponentCatalog& catalog);

/// The component of a kind that its plugin recommends; empty: there is none.
std::string recommended_component(std::string_view kind, const ComponentCatalog& catalog);

/// All that their plugins recommend: of some kinds a table takes several.
std::vector<std::string> recommended_components(std::string_view kind, const ComponentCatalog& catalog);

/// A component of `kind` that needs least: without components of its own and without required options where there is
/// one. Empty when no component is of that kind.
std::string simplest_component(std::string_view kind, const ComponentCatalog& catalog);

/// Is `option` an array whose elements are tables, written as `[[name]]`?
bool is_table_array(const OptionSpec& option);

}  // namespace casdm
