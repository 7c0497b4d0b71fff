#pragma once

#include <string>

namespace casdm {

/// What belongs to the whole process or thread and what a component must leave as it found it: LibTorch's default
/// dtype, grad mode, number of threads and global generator; signal handlers and mask, working folder, locale, rounding
/// and denormals.
///
/// RunningComponent calls `begin_watch` before and `end_watch` after each call into a plugin. On the main thread all of
/// it is compared; on others the thread's own state, and the rest for the thread's first calls. What was changed is put
/// back, and the first change is remembered until the host asks.
void begin_watch();

/// @param component  whose call ends
void end_watch(const char* component);

/// Throws PluginError that names the component and what it changed, once, when one did since the last call. The host
/// asks once a step, before weights change.
void require_unchanged_state();

}  // namespace casdm
