#include "framework/loading/global_state.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/GradMode.h>
#include <locale.h>
#include <signal.h>
#include <unistd.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <array>
#include <atomic>
#include <cfenv>
#include <locale>
#include <mutex>
#include <optional>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::array kSignals = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS,  SIGFPE,
                                 SIGSEGV, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD};

/// Rounding and, on x86, the treatment of denormals and the exceptions that trap, without the status flags.
unsigned int floating_point_control() {
  auto control = static_cast<unsigned int>(std::fegetround());
#ifdef __SSE2__
  constexpr unsigned int flags = 0x3f;
  control |= (_mm_getcsr() & ~flags) << 16;
#endif
  return control;
}

/// In what type operations are cast; none: they are not. The type itself stays behind where casting ends.
std::optional<at::ScalarType> autocast_of(at::DeviceType device) {
  if (!at::autocast::is_autocast_enabled(device)) return std::nullopt;
  return at::autocast::get_autocast_dtype(device);
}

void restore_autocast(at::DeviceType device, std::optional<at::ScalarType> type) {
  at::autocast::set_autocast_enabled(device, type.has_value());
  if (type) at::autocast::set_autocast_dtype(device, *type);
}

struct ThreadState {
  bool has_gradients = c10::GradMode::is_enabled();
  std::optional<at::ScalarType> cast_on_cpu = autocast_of(at::kCPU), cast_on_cuda = autocast_of(at::kCUDA);
  unsigned int control = floating_point_control();
  std::fenv_t environment{};
  sigset_t mask{};
  locale_t locale = ::uselocale(nullptr);

  ThreadState() {
    std::fegetenv(&environment);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  }
};

using Handler = void (*)(int, siginfo_t*, void*);

/// Nothing where LibTorch does not say, since both its older and its newer settings are in use, as with TF32 on a GPU.
std::optional<at::Float32MatmulPrecision> precision_of_products() {
  static std::atomic<bool> is_said = true;
  if (!is_said) return std::nullopt;
  try {
    return at::globalContext().float32MatmulPrecision();
  } catch (const std::exception&) {
    is_said = false;
    return std::nullopt;
  }
}

struct ProcessState {
  caffe2::TypeMeta dtype = c10::get_default_dtype();
  int threads = at::get_num_threads();
  bool is_deterministic = at::globalContext().deterministicAlgorithms();
  std::array<bool, 4> libraries = {at::globalContext().userEnabledMkldnn(), at::globalContext().userEnabledCuDNN(),
                                   at::globalContext().benchmarkCuDNN(), at::globalContext().deterministicCuDNN()};
  std::optional<at::Float32MatmulPrecision> products = precision_of_products();
  at::mt19937 engine;
  std::array<struct sigaction, kSignals.size()> handlers{};
  std::string folder;
  std::string c_locale = ::setlocale(LC_ALL, nullptr);
  std::locale locale;

  ProcessState() {
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard lock(generator.mutex());
    engine = at::check_generator<at::CPUGeneratorImpl>(generator)->engine();
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], nullptr, &handlers[i]);
    std::array<char, 4096> buffer;
    if (::getcwd(buffer.data(), buffer.size()) != nullptr) folder = buffer.data();
  }
};

struct Watch {
  ThreadState thread;
  std::optional<ProcessState> process;
};

thread_local std::vector<Watch> t_watches;

std::mutex g_mutex;
std::string g_change;  ///< the first change that has not been reported to the host

bool is_same(const at::mt19937& a, const at::mt19937& b) {
  const at::mt19937_data_pod x = a.data();
  const at::mt19937_data_pod y = b.data();
  return x.seed_ == y.seed_ && x.left_ == y.left_ && x.next_ == y.next_ && x.state_ == y.state_;
}

/// Each restores the previous state and returns what was changed; empty if nothing was.
std::string restored(const ThreadState& before) {
  const ThreadState now;
  if (now.has_gradients != before.has_gradients) {
    c10::GradMode::set_enabled(before.has_gradients);
    return text("grad mode, now ", now.has_gradients ? "on" : "off");
  }
  if (now.cast_on_cpu != before.cast_on_cpu || now.cast_on_cuda != before.cast_on_cuda) {
    restore_autocast(at::kCPU, before.cast_on_cpu);
    restore_autocast(at::kCUDA, before.cast_on_cuda);
    return "autocast";
  }
  if (now.control != before.control) {
    std::fesetenv(&before.environment);
    return "the rounding, denormals or traps of floating-point numbers";
  }
  for (const int number : kSignals) {
    if (::sigismember(&now.mask, number) == ::sigismember(&before.mask, number)) continue;
    ::pthread_sigmask(SIG_SETMASK, &before.mask, nullptr);
    return text("the signal mask (SIG", ::sigabbrev_np(number), ")");
  }
  if (now.locale != before.locale) {
    ::uselocale(before.locale);
    return "the thread's locale";
  }
  return "";
}

std::string restored(const ProcessState& before) {
  const ProcessState now;
  if (now.dtype != before.dtype) {
    c10::set_default_dtype(before.dtype);
    return text("the default dtype, now ", now.dtype.name());
  }
  if (now.threads != before.threads) {
    at::set_num_threads(before.threads);
    return text("the number of threads, from ", before.threads, " to ", now.threads);
  }
  if (now.is_deterministic != before.is_deterministic) {
    at::globalContext().setDeterministicAlgorithms(before.is_deterministic,
                                                   at::globalContext().deterministicAlgorithmsWarnOnly());
    return text("the use of deterministic algorithms, now ", now.is_deterministic ? "on" : "off");
  }
  if (now.libraries != before.libraries) {
    at::Context& context = at::globalContext();
    context.setUserEnabledMkldnn(before.libraries[0]);
    context.setUserEnabledCuDNN(before.libraries[1]);
    context.setBenchmarkCuDNN(before.libraries[2]);
    context.setDeterministicCuDNN(before.libraries[3]);
    return "the use of oneDNN or cuDNN";
  }
  if (now.products && before.products && now.products != before.products) {
    constexpr std::array kNames = {"highest", "high", "medium"};
    at::globalContext().setFloat32MatmulPrecision(kNames.at(static_cast<std::size_t>(*before.products)));
    return "the precision of float32 matrix products";
  }
  if (!is_same(now.engine, before.engine)) {
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard lock(generator.mutex());
    at::check_generator<at::CPUGeneratorImpl>(generator)->set_engine(before.engine);
    return "the global random generator, by a draw without a generator of its own or by a seed";
  }
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    const struct sigaction& old = before.handlers[i];
    const bool is_same_handler = now.handlers[i].sa_handler == old.sa_handler;
    if (is_same_handler && now.handlers[i].sa_flags == old.sa_flags) continue;
    ::sigaction(kSignals[i], &old, nullptr);
    // CUDA's compiler, which LibTorch runs at the first use of some kernels, restores handlers with signal(), which
    // loses the flags.
    if (is_same_handler) continue;
    return text("the handler of SIG", ::sigabbrev_np(kSignals[i]));
  }
  if (now.folder != before.folder) {
    const bool is_back = ::chdir(before.folder.c_str()) == 0;
    return text("the working folder, to ", now.folder, is_back ? "" : ", and it cannot be set back");
  }
  if (now.c_locale != before.c_locale) {
    ::setlocale(LC_ALL, before.c_locale.c_str());
    return text("the locale, to ", now.c_locale);
  }
  if (now.locale != before.locale) {
    std::locale::global(before.locale);
    return "the global std::locale";
  }
  return "";
}

}  // namespace

void begin_watch() {
  Watch& watch = t_watches.emplace_back();
  const bool is_main_thread = ::gettid() == ::getpid();
  if (is_main_thread) watch.process.emplace();
}

void end_watch(const char* component) {
  const Watch watch = std::move(t_watches.back());
  t_watches.pop_back();
  std::string change = restored(watch.thread);
  if (change.empty() && watch.process) change = restored(*watch.process);
  if (change.empty()) return;
  const std::lock_guard lock(g_mutex);
  const std::string who =
      component != nullptr ? text("the component '", component, "'") : "a component's code that ran in a backward pass";
  if (g_change.empty()) g_change = text(who, " changed ", change);
}

void require_unchanged_state() {
  const std::lock_guard lock(g_mutex);
  if (g_change.empty()) return;
  throw PluginError(std::exchange(g_change, {}) +
                    ". A component must leave the state of the process as it found it; "
                    "`casdm plugins check` tests its plugin");
}

}  // namespace casdm
