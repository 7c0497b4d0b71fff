#pragma once

#include <string>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// A valid value for `option`: its first example, its default, or the simplest of its type.
Value example_value(const OptionSpec& option, const ComponentCatalog& catalog);

/// A table that chooses the component `type` of `kind` and can be resolved: with keys that are required or have an
/// example, including nested components.
/// @param fields  the host's keys of the table, of which the required ones are written, too
Value example_component(std::string_view kind, const std::string& type, const OptionSchema& fields,
                        const ComponentCatalog& catalog);

/// The component of a kind that its plugin recommends; empty: there is none.
std::string recommended_component(std::string_view kind, const ComponentCatalog& catalog);

/// All components that their plugins recommend, since for some kinds a table takes several.
std::vector<std::string> recommended_components(std::string_view kind, const ComponentCatalog& catalog);

/// The component of `kind` with the fewest needs: if possible, without nested components and required options. Empty if
/// the kind has no component.
std::string simplest_component(std::string_view kind, const ComponentCatalog& catalog);

/// Is `option` an array whose elements are tables, written as `[[name]]`?
bool is_table_array(const OptionSpec& option);

}  // namespace casdm
