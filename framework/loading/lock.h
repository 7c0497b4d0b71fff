#pragma once

#include <string>
#include <vector>

#include "framework/config/experiment.h"
#include "framework/loading/discovery.h"

namespace casdm {

/// The plugins whose components are named in a resolved experiment, in the order of the catalog.
std::vector<const FoundPlugin*> plugins_of(const Value& resolved, const PluginCatalog& catalog);

/// The `[[plugins.lock]]` for these plugins in their present state. Throws Error if a file cannot be read.
std::vector<LockedPlugin> lock_of(const std::vector<const FoundPlugin*>& plugins);

/// The `[[plugins.lock]]` of an experiment that may not have been validated; empty: every plugin is allowed. A
/// malformed entry allows none. Throws ConfigError, with the places of both, if two entries have one id.
std::vector<LockedPlugin> lock_in(const Value& experiment);

/// Why `lock` does not allow the plugin; empty: it does, or there is no lock. Throws Error if the file cannot be read.
std::string lock_problem(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock);

/// Throws PluginError that lists `problems`, found with a lock; does nothing if there are none.
void fail_locked(const std::vector<std::string>& problems);

/// Compares the plugins named in a resolved experiment, or in part of one, with a lock. Throws PluginError that lists
/// every plugin that is not locked or whose file differs. PluginHost checks again each one that it loads.
void check_lock(const Value& resolved, const std::vector<LockedPlugin>& lock, const PluginCatalog& catalog);

/// Throws PluginError if the experiment brings the plugin and the user has not allowed it: it may come from anywhere,
/// like the experiment.
void require_consent(const FoundPlugin& plugin);

}  // namespace casdm
