#include "framework/loading/crash_message.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace casdm {

namespace {

/// The memory that a plugin's code occupies.
struct Code {
  const char* plugin;
  std::uintptr_t begin;
  std::uintptr_t end;
  bool is_installed;
};

constexpr std::size_t kMostPlugins = 256;

thread_local const char* t_running = nullptr;
std::atomic<const char*> g_last_running{nullptr};
std::array<Code, kMostPlugins> g_codes;
std::atomic<std::size_t> g_code_count{0};
pid_t g_process = 0;

void say(std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) return;
  }
}

/// The plugin whose code is innermost on this thread's stack; null: none.
const char* plugin_on_stack() {
  std::array<void*, 128> frames;
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  const std::size_t codes = g_code_count.load(std::memory_order_acquire);
  for (int i = 0; i < count; ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(frames[static_cast<std::size_t>(i)]);
    for (std::size_t j = 0; j < codes; ++j) {
      if (address >= g_codes[j].begin && address < g_codes[j].end) return g_codes[j].plugin;
    }
  }
  return nullptr;
}

/// "Test it ...", the end of every message.
constexpr const char* kAdvice = " with `casdm plugins check`; --safe-mode runs with the installed plugins alone\n";

/// Possible causes if no plugin is on the stack: the last component called, and the plugins that are not casdm's own.
void say_suspects() {
  const char* last = g_last_running.load();
  if (last == nullptr) return say({") outside of any plugin's call\n"});
  say({") outside of any plugin's call; the last one was of the component '", last, "'"});
  const char* separator = ". Plugins in use that are not casdm's own: ";
  for (std::size_t i = 0; i < g_code_count.load(std::memory_order_acquire); ++i) {
    if (g_codes[i].is_installed) continue;
    say({separator, g_codes[i].plugin});
    separator = ", ";
  }
  say({"\n"});
}

/// Async-signal-safe: no allocation, lock or stream. (explain_crashes has loaded what `backtrace` needs.)
void on_crash(int number) {
  const char* name = ::sigabbrev_np(number);
  say({"casdm: crashed (SIG", name != nullptr ? name : "?"});
  if (t_running != nullptr) {
    say({") in code that the component '", t_running, "' called. Test its plugin", kAdvice});
  } else if (const char* plugin = plugin_on_stack()) {
    say({") in code of the plugin ", plugin, ". Test it", kAdvice});
  } else {
    say_suspects();
  }
  ::raise(number);  // SA_RESETHAND: this time with the default action
}

/// The first and last address of the loaded library.
struct Extent {
  std::uintptr_t base;
  std::uintptr_t begin = UINTPTR_MAX;
  std::uintptr_t end = 0;
};

int measure(dl_phdr_info* info, std::size_t, void* data) {
  auto& extent = *static_cast<Extent*>(data);
  if (info->dlpi_addr != extent.base) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    extent.begin = std::min<std::uintptr_t>(extent.begin, extent.base + segment.p_vaddr);
    extent.end = std::max<std::uintptr_t>(extent.end, extent.base + segment.p_vaddr + segment.p_memsz);
  }
  return 1;
}

}  // namespace

void explain_crashes() {
  static char stack[1 << 16];  // the thread's own stack may have overflowed
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof(stack);
  ::sigaltstack(&alternative, nullptr);
  void* frame = nullptr;
  ::backtrace(&frame, 1);  // loads the unwinder, which is not allowed in a signal handler
  g_process = ::getpid();
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER | SA_ONSTACK);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::sigaction(number, &action, nullptr);
}

bool is_exit_of_plugin(const char* function, int status) {
  if (::getpid() != g_process) return false;  // a trial, or a child process that the plugin created
  const char* plugin = plugin_on_stack();
  if (t_running == nullptr && plugin == nullptr) return false;
  const char digits[] = {static_cast<char>('0' + (status & 0xff) / 100),
                         static_cast<char>('0' + (status & 0xff) / 10 % 10),
                         static_cast<char>('0' + (status & 0xff) % 10), '\0'};
  const char* number = digits;
  while (*number == '0' && number[1] != '\0') ++number;
  say({"casdm: ", t_running != nullptr ? "the component '" : "code of the plugin ",
       t_running != nullptr ? t_running : plugin, t_running != nullptr ? "'" : "", " ended the program by ", function,
       "(", number, "). A component reports a failure by throwing casdm::Error. Test its plugin", kAdvice});
  return true;
}

const char* set_running(const char* component) {
  const char* before = t_running;
  t_running = component;
  if (component != nullptr) g_last_running.store(component);
  return before;
}

void remember_code(void* handle, const char* plugin, bool is_installed) {
  link_map* map = nullptr;
  const std::size_t count = g_code_count.load();
  if (count == kMostPlugins || ::dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) return;
  Extent extent{map->l_addr};
  ::dl_iterate_phdr(measure, &extent);
  g_codes[count] = {plugin, extent.begin, extent.end, is_installed};
  g_code_count.store(count + 1, std::memory_order_release);
}

}  // namespace casdm
