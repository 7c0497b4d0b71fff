#include "framework/training/signals.h"

#include <csignal>

namespace casdm {

namespace {

volatile std::sig_atomic_t g_interrupted = 0;
volatile std::sig_atomic_t g_asked_once = 0;

void ask_for_end(int /*signal*/) { g_interrupted = 1; }

/// The second signal has its default action. The handler stays installed until then: changing handlers during a
/// component's call would look like a change by the component.
void ask_once(int signal) {
  if (g_asked_once != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_asked_once = 1;
  g_interrupted = 1;
}

}  // namespace

void catch_signals() {
  g_interrupted = 0;
  g_asked_once = 0;
  std::signal(SIGINT, ask_once);
  std::signal(SIGTERM, ask_once);
  // A closing terminal sends SIGHUP more than once, and a batch system may repeat SIGUSR1.
  if (std::signal(SIGHUP, ask_for_end) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGUSR1, ask_for_end);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return g_interrupted != 0; }

}  // namespace casdm
