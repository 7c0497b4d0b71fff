#include "framework/loading/crash_message.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <initializer_list>

namespace casdm {

namespace {

thread_local const char* t_running = nullptr;

void say(const char* words) {
  if (::write(STDERR_FILENO, words, std::strlen(words)) < 0) return;
}

/// Async-signal-safe: no allocation, no lock, no stream.
void on_crash(int number) {
  const char* name = ::sigabbrev_np(number);
  say("casdm: crashed (SIG");
  say(name != nullptr ? name : "?");
  if (t_running != nullptr) {
    say(") in code that the component '");
    say(t_running);
    say("' called. Test its plugin with `casdm plugins check`; --safe-mode runs with the installed plugins alone\n");
  } else {
    say(") outside of any plugin's call\n");
  }
  ::raise(number);  // SA_RESETHAND: now as the system does it
}

}  // namespace

void explain_crashes() {
  static char stack[1 << 16];  // the thread's own may be what overflowed
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof(stack);
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER | SA_ONSTACK);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::sigaction(number, &action, nullptr);
}

const char* set_running(const char* component) {
  const char* before = t_running;
  t_running = component;
  return before;
}

}  // namespace casdm
