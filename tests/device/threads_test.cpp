#include "framework/device/threads.h"

#include <ATen/Parallel.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

using namespace casdm;

namespace {

/// Gives an environment variable another value, or removes it, until the end of the scope.
class WithVariable {
 public:
  WithVariable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }
  ~WithVariable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

}  // namespace

TEST_CASE("there are as many threads as CPUs that other processes leave free") {
  CHECK(threads_beside({.others = 0}, 2, 2) == 2);
  CHECK(threads_beside({.others = 1}, 2, 2) == 1);
  CHECK(threads_beside({.others = 0.66}, 2, 2) == 1);  // three equal threads on two CPUs get two thirds each
  CHECK(threads_beside({.others = 0.2}, 2, 2) == 2);   // something small now and then
  CHECK(threads_beside({.others = 9}, 2, 2) == 1);
  CHECK(threads_beside({.others = 3}, 64, 16) == 16);
  CHECK(threads_beside({.others = 60}, 64, 16) == 4);
}

TEST_CASE("the usable CPUs are among the machine's") {
  CHECK(usable_cpus() >= 1);
  CHECK(usable_cpus() <= ::sysconf(_SC_NPROCESSORS_ONLN));
}

TEST_CASE("a requested number of threads is used unchanged") {
  const int before = at::get_num_threads();
  {
    CpuThreads threads(3);
    CHECK(threads.count() == 3);
    CHECK(at::get_num_threads() == 3);
    CHECK(threads.update().empty());
    CHECK(threads.describe().starts_with("3 threads"));
  }
  {
    const CpuThreads threads(usable_cpus() + 5);
    CHECK(threads.describe().find("run.threads = 0") != std::string::npos);
  }
  at::set_num_threads(before);
}

TEST_CASE("OMP_NUM_THREADS decides if the experiment does not") {
  const int before = at::get_num_threads();
  const WithVariable variable("OMP_NUM_THREADS", "7");
  at::set_num_threads(7);  // the runtime read the variable when the program started
  CHECK(CpuThreads(0).count() == 7);
  CHECK(CpuThreads(2).count() == 2);
  at::set_num_threads(before);
}

TEST_CASE("without a given number the machine's load decides") {
  const int before = at::get_num_threads();
  const WithVariable variable("OMP_NUM_THREADS", nullptr);
  const CpuThreads threads(0);
  CHECK(threads.count() >= 1);
  CHECK(threads.count() <= usable_cpus());
  CHECK(at::get_num_threads() == threads.count());
  at::set_num_threads(before);
}
