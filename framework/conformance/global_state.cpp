#include "framework/conformance/global_state.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/InferenceMode.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cfenv>
#include <clocale>
#include <exception>
#include <filesystem>
#include <iostream>
#include <locale>
#include <new>
#include <optional>
#include <thread>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "casdm/text.h"

extern char** environ;

namespace casdm::conformance {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostChanges = 3;

std::string on(bool flag) { return flag ? "on" : "off"; }

std::string octal(mode_t mode) {
  std::ostringstream out;
  out << std::oct << '0' << mode;
  return out.str();
}

void add_libtorch(Facts& facts) {
  const at::Context& context = at::globalContext();
  facts["the number of threads"] = text(at::get_num_threads());
  facts["the grad mode"] = on(at::GradMode::is_enabled());
  facts["the inference mode"] = on(c10::InferenceMode::is_enabled());
  facts["the default dtype"] = std::string(c10::get_default_dtype().name());
  facts["deterministic algorithms"] =
      on(context.deterministicAlgorithms()) + (context.deterministicAlgorithmsWarnOnly() ? ", warnings only" : "");
  facts["filling of uninitialised memory"] = on(context.deterministicFillUninitializedMemory());
  facts["deterministic cuDNN"] = on(context.deterministicCuDNN());
  facts["cuDNN"] = on(context.userEnabledCuDNN());
  facts["cuDNN's benchmark"] = on(context.benchmarkCuDNN());
  facts["oneDNN"] = on(context.userEnabledMkldnn());
  facts["the precision of float32 matrix products"] = text(static_cast<int>(context.float32MatmulPrecision()));
  facts["autocast's cache"] = on(at::autocast::is_autocast_cache_enabled());
  for (const auto device : {c10::DeviceType::CPU, c10::DeviceType::CUDA}) {
    facts[text("autocast on ", c10::DeviceTypeName(device, /*lower_case=*/true))] =
        text(on(at::autocast::is_autocast_enabled(device)), ", ", at::autocast::get_autocast_dtype(device));
  }
  const at::Tensor generator = at::globalContext().defaultGenerator(c10::Device(c10::kCPU)).get_state();
  const std::string_view bytes(static_cast<const char*>(generator.data_ptr()), generator.nbytes());
  facts["the global random generator"] = text("state ", std::hex, std::hash<std::string_view>()(bytes));
}

void add_arithmetic(Facts& facts) {
  facts["the rounding mode"] = text(std::fegetround());
#ifdef __SSE__
  // Denormals, rounding and trapped exceptions, without the flags that arithmetic itself sets.
  constexpr unsigned kRaised = 0x3f;
  facts["the floating-point control word"] = text(std::hex, _mm_getcsr() & ~kRaised);
#elif defined(__aarch64__)
  std::uint64_t control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  facts["the floating-point control word"] = text(std::hex, control);
#endif
}

std::string handler_of(const struct sigaction& action) {
  if (action.sa_handler == SIG_DFL) return "the default";
  if (action.sa_handler == SIG_IGN) return "ignored";
  return text("a handler at ", reinterpret_cast<const void*>(action.sa_handler));
}

void add_signals(Facts& facts) {
  sigset_t blocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action = {};
    if (::sigaction(number, nullptr, &action) != 0) continue;
    const char* known = ::sigabbrev_np(number);
    const std::string name = known != nullptr ? text("SIG", known) : text("signal ", number);
    facts["the handling of " + name] = handler_of(action);
    facts["the blocking of " + name] = on(::sigismember(&blocked, number) == 1);
  }
  constexpr std::pair<__itimer_which, const char*> kTimers[] = {
      {ITIMER_REAL, "the alarm clock"}, {ITIMER_VIRTUAL, "the virtual timer"}, {ITIMER_PROF, "the profiling timer"}};
  for (const auto& [which, name] : kTimers) {
    struct itimerval timer = {};
    ::getitimer(which, &timer);
    facts[name] = on(timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0);
  }
}

void add_streams(Facts& facts) {
  constexpr const char* kNames[] = {"stdin", "stdout", "stderr"};
  for (int descriptor = 0; descriptor < 3; ++descriptor) {
    struct stat file = {};
    facts[text("where ", kNames[descriptor], " leads")] =
        ::fstat(descriptor, &file) == 0 ? text("file ", file.st_dev, ':', file.st_ino) : "nowhere";
  }
  facts["the buffer of std::cout"] = text(static_cast<const void*>(std::cout.rdbuf()));
  facts["the buffer of std::cerr"] = text(static_cast<const void*>(std::cerr.rdbuf()));
}

void add_process(Facts& facts) {
  std::error_code error;
  facts["the working directory"] = fs::current_path(error).string();
  const mode_t mask = ::umask(0);
  ::umask(mask);
  facts["the umask"] = octal(mask);
  facts["the C locale"] = std::setlocale(LC_ALL, nullptr);
  facts["the C++ locale"] = std::locale().name();
  facts["the priority"] = text(::getpriority(PRIO_PROCESS, 0));
  facts["the terminate handler"] = text(reinterpret_cast<const void*>(std::get_terminate()));
  facts["the new handler"] = text(reinterpret_cast<const void*>(std::get_new_handler()));
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    const std::size_t end = std::min(variable.find('='), variable.size());
    facts[text("the environment variable ", variable.substr(0, end))] =
        text('"', variable.substr(std::min(end + 1, variable.size())), '"');
  }
  for (int limit = 0; limit < RLIM_NLIMITS; ++limit) {
    struct rlimit bounds = {};
    if (::getrlimit(static_cast<__rlimit_resource>(limit), &bounds) != 0) continue;
    facts[text("resource limit ", limit)] = text(bounds.rlim_cur, " of ", bounds.rlim_max);
  }
}

std::size_t count_threads() {
  std::error_code error;
  std::size_t count = 0;
  for (fs::directory_iterator task("/proc/self/task", error), end; task != end; task.increment(error)) ++count;
  return count;
}

}  // namespace

Facts settings() {
  Facts facts;
  add_libtorch(facts);
  add_arithmetic(facts);
  add_signals(facts);
  add_streams(facts);
  add_process(facts);
  return facts;
}

Facts resources() {
  Facts facts;
  DIR* folder = ::opendir("/proc/self/fd");
  while (const dirent* entry = folder != nullptr ? ::readdir(folder) : nullptr) {
    const std::string name = entry->d_name;
    if (name.front() == '.' || name == text(::dirfd(folder))) continue;
    std::error_code error;
    facts["open descriptor " + name] = fs::read_symlink("/proc/self/fd/" + name, error).string();
  }
  if (folder != nullptr) ::closedir(folder);
  facts["the number of threads that run"] = text(count_threads());
  return facts;
}

std::string changes(const Facts& before, const Facts& after) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& name, const std::string* from, const std::string* to) {
    lines.push_back(text(name, " from ", from != nullptr ? *from : "none", " to ", to != nullptr ? *to : "none"));
  };
  for (const auto& [name, value] : before) {
    const auto now = after.find(name);
    if (now == after.end()) {
      add(name, &value, nullptr);
    } else if (now->second != value) {
      add(name, &value, &now->second);
    }
  }
  for (const auto& [name, value] : after) {
    if (!before.contains(name)) add(name, nullptr, &value);
  }
  if (lines.size() > kMostChanges) {
    const std::size_t more = lines.size() - kMostChanges;
    lines.resize(kMostChanges);
    lines.push_back(text(more, " more"));
  }
  return join(lines, "; ");
}

}  // namespace casdm::conformance
