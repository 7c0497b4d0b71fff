#pragma once

#include <string>
#include <vector>

#include "framework/config/experiment.h"
#include "framework/loading/discovery.h"

namespace casdm {

/// The plugins whose components a resolved experiment names, in the order of the catalog.
std::vector<const FoundPlugin*> plugins_of(const Value& resolved, const PluginCatalog& catalog);

/// What `[[plugins.lock]]` has to say for these plugins as they are now. Throws Error when a file cannot be read.
std::vector<LockedPlugin> lock_of(const std::vector<const FoundPlugin*>& plugins);

/// The `[[plugins.lock]]` of an experiment that has perhaps not been validated; empty: every plugin is allowed. What
/// has not the form of an entry allows none.
std::vector<LockedPlugin> lock_in(const Value& experiment);

/// Why `lock` does not allow the plugin; empty: it does, or there is no lock. Throws Error when the file cannot be
/// read.
std::string lock_problem(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock);

/// Throws PluginError that lists `problems`, of a lock; nothing when there is none.
void fail_locked(const std::vector<std::string>& problems);

/// Compares the plugins that a resolved experiment, or a part of one, names with a lock. Throws PluginError that lists
/// every plugin that is not locked, or whose file is another. PluginHost asks again of each that it loads.
void check_lock(const Value& resolved, const std::vector<LockedPlugin>& lock, const PluginCatalog& catalog);

}  // namespace casdm
