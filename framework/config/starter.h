#pragma once

#include <map>
#include <string>

#include "framework/config/resolve.h"

namespace casdm {

/// A commented experiment written from the schemas: every table and key with its meaning, range and default. Components
/// are chosen from those available: the recommended one of each kind, or else the simplest.
/// @param chosen  key path of a table to the `type` it gets: {"sampler", "NAME"}, {"metrics", "PLUGIN/NAME"}
/// Throws ConfigError if a chosen type does not exist or its table is not part of the experiment.
std::string starter_experiment(const OptionSchema& schema, const ComponentCatalog& catalog,
                               const std::map<std::string, std::string>& chosen = {});

}  // namespace casdm
