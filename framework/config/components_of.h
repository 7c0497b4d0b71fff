#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// The tables of a resolved experiment that choose a component of `kind`, at any depth, with their keys in the form of
/// ExperimentChange. Throws ConfigError if the catalog lacks a chosen component.
/// @param kind     empty: any
/// @param without  tables of the experiment to skip
std::vector<std::pair<std::string, const Value*>> components_of(std::string_view kind, const Value& experiment,
                                                                const std::vector<std::string>& without,
                                                                const ComponentCatalog& catalog);

/// The components that a resolved experiment chooses at or below the key path `key`, outermost first.
std::vector<ComponentConfig> components_below(const std::string& key, const Value& experiment,
                                              const ComponentCatalog& catalog);

}  // namespace casdm
