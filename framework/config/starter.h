#pragma once

#include <map>
#include <string>

#include "framework/config/resolve.h"

namespace casdm {

/// A commented experiment written from the schemas: every table and key with its meaning, range and
/// default, components chosen from those available: the recommended one of each kind, else the simplest.
/// @param chosen  key path of a table to the `type` it shall have: {"sampler", "NAME"}, {"metrics", "PLUGIN/NAME"}
/// Throws ConfigError when a chosen type does not exist or its table is not written.
std::string starter_experiment(const OptionSchema& schema, const ComponentCatalog& catalog,
                               const std::map<std::string, std::string>& chosen = {});

}  // namespace casdm
