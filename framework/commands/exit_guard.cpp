#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "framework/loading/crash_message.h"

/// The program defines the exit functions itself, so libraries loaded later use these instead of libc's: a plugin
/// cannot silently end a training with status 0.
namespace {

[[noreturn]] void end(const char* function, int status) {
  if (casdm::is_exit_of_plugin(function, status)) ::syscall(SYS_exit_group, status == 0 ? 1 : status);
  using Function = void (*)(int);
  if (const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, function))) next(status);
  ::syscall(SYS_exit_group, status);
  __builtin_unreachable();
}

}  // namespace

extern "C" {

void exit(int status) noexcept { end("exit", status); }
void _exit(int status) { end("_exit", status); }
void _Exit(int status) noexcept { end("_Exit", status); }
void quick_exit(int status) noexcept { end("quick_exit", status); }
}
