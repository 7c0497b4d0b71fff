#pragma once

namespace casdm {

/// From now on a crash of this process (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) says on stderr which plugin's
/// component was running, before the process ends as the system would end it.
void explain_crashes();

/// What runs now, a text that outlives the call; null: the host. Returns what ran before. One a thread.
const char* set_running(const char* component);

}  // namespace casdm
