#pragma once

namespace casdm {

/// From now on, if this process crashes (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT), it prints to stderr which plugin's
/// component was running, and then ends with the default action.
void explain_crashes();

/// Whether `function` (exit, _exit, quick_exit), called with `status` in the process that called explain_crashes, was
/// called by a plugin's code. If so, reports that on stderr with the component.
bool is_exit_of_plugin(const char* function, int status);

/// Records which component this thread is running (null: host code). The string must stay valid. Returns the previous
/// value.
const char* set_running(const char* component);

/// Records where the code of a plugin is in memory, so that it is recognised on the stack of any thread.
/// @param handle  returned by dlopen
/// @param plugin  its name for messages; must stay valid
void remember_code(void* handle, const char* plugin, bool is_installed);

}  // namespace casdm
