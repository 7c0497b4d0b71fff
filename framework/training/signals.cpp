#include "framework/training/signals.h"

#include <csignal>

namespace casdm {

namespace {

volatile std::sig_atomic_t g_first = 0;
volatile std::sig_atomic_t g_asked_once = 0;

void ask_for_end(int signal) {
  if (g_first == 0) g_first = signal;
}

/// The second signal has its default action. The handler stays installed until then: changing handlers during a
/// component's call would look like a change by the component.
void ask_once(int signal) {
  if (g_asked_once != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_asked_once = 1;
  ask_for_end(signal);
}

}  // namespace

void catch_signals() {
  g_first = 0;
  g_asked_once = 0;
  std::signal(SIGINT, ask_once);
  std::signal(SIGTERM, ask_once);
  // A closing terminal sends SIGHUP more than once, and a batch system may repeat SIGUSR1.
  if (std::signal(SIGHUP, ask_for_end) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGUSR1, ask_for_end);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return g_first != 0; }

int interrupting_signal() { return g_first; }

}  // namespace casdm
