#pragma once

#include <vector>

#include "framework/config/experiment.h"
#include "framework/loading/discovery.h"

namespace casdm {

/// The plugins whose components a resolved experiment names, in the order of the catalog.
std::vector<const FoundPlugin*> plugins_of(const Value& resolved, const PluginCatalog& catalog);

/// What `[[plugins.lock]]` has to say for these plugins as they are now. Throws Error when a file cannot be read.
std::vector<LockedPlugin> lock_of(const std::vector<const FoundPlugin*>& plugins);

/// Compares the plugins of a resolved experiment with its `[[plugins.lock]]`; without one everything is allowed.
/// Throws PluginError that lists every plugin that is not locked, or whose file is another.
void check_lock(const Value& resolved, const PluginCatalog& catalog);

}  // namespace casdm
