#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// The tables of a resolved experiment that choose a component of `kind`, at any depth, with their keys as
/// ExperimentChange has them. Throws ConfigError when the catalog lacks a component that is chosen.
/// @param without  tables of the experiment that are not looked into
std::vector<std::pair<std::string, const Value*>> components_of(std::string_view kind, const Value& experiment,
                                                                const std::vector<std::string>& without,
                                                                const ComponentCatalog& catalog);

}  // namespace casdm
