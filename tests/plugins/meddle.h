#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/DefaultDtype.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cfenv>
#include <clocale>
#include <iostream>
#include <locale>
#include <sstream>
#include <string>
#include <thread>

/// Changes to the state of the whole process, for components that should not make them.
namespace casdm::testing {

inline std::vector<std::string> all_changes() {
  return {"none",      "threads",  "grad_mode",  "dtype", "generator", "locale",   "cpp_locale",
          "directory", "umask",    "handler",    "mask",  "variable",  "rounding", "flush",
          "stdout",    "stderr",   "cout",       "alarm", "limit",     "autocast", "deterministic",
          "cudnn",     "priority", "descriptor", "thread"};
}

/// Makes the change `what` of all_changes().
inline void meddle(const std::string& what) {
  if (what == "threads") at::set_num_threads(at::get_num_threads() + 1);
  if (what == "grad_mode") at::GradMode::set_enabled(!at::GradMode::is_enabled());
  if (what == "dtype") c10::set_default_dtype(caffe2::TypeMeta::Make<double>());
  if (what == "generator") at::rand({1});
  if (what == "locale") std::setlocale(LC_ALL, "C.UTF-8");
  if (what == "cpp_locale") std::locale::global(std::locale("C.UTF-8"));
  if (what == "directory" && ::chdir("/") != 0) std::abort();
  if (what == "umask") ::umask(077);
  if (what == "handler") ::signal(SIGINT, SIG_IGN);
  if (what == "mask") {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }
  if (what == "variable") ::setenv("OMP_NUM_THREADS", "7", 1);
  if (what == "rounding") std::fesetround(FE_UPWARD);
  if (what == "flush") at::globalContext().setFlushDenormal(true);
  if (what == "stdout") ::dup2(STDERR_FILENO, STDOUT_FILENO);
  if (what == "stderr") ::dup2(STDOUT_FILENO, STDERR_FILENO);
  if (what == "cout") {
    static std::ostringstream elsewhere;
    std::cout.rdbuf(elsewhere.rdbuf());
  }
  if (what == "alarm") ::alarm(3600);
  if (what == "limit") {
    struct rlimit bounds = {};
    ::getrlimit(RLIMIT_NOFILE, &bounds);
    bounds.rlim_cur -= 1;
    ::setrlimit(RLIMIT_NOFILE, &bounds);
  }
  if (what == "autocast") at::autocast::set_autocast_enabled(at::kCPU, true);
  if (what == "deterministic") at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  if (what == "cudnn") at::globalContext().setBenchmarkCuDNN(true);
  if (what == "priority" && ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + 1) != 0) std::abort();
  if (what == "descriptor" && ::open("/dev/null", O_RDONLY) < 0) std::abort();
  if (what == "thread") std::thread([] { std::this_thread::sleep_for(std::chrono::minutes(1)); }).detach();
}

}  // namespace casdm::testing
