#include "framework/device/threads.h"

#include <ATen/Parallel.h>
#include <doctest/doctest.h>
#include <sched.h>
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

TEST_CASE("processes divide CPUs that several of them may use, and leave each its own") {
  const std::string first = "11110000", second = "00001111", all = "11111111", wide = "0011110000000000";
  CHECK(sharers_of_cpus(first, {first, second}, 4) == 1);
  CHECK(sharers_of_cpus(all, {all, all, all}, 8) == 3);
  CHECK(sharers_of_cpus(first, {first, all, second}, 4) == 2);
  CHECK(sharers_of_cpus(second, {first, second, wide}, 4) == 2);
  // A quota of two CPUs may be one for all processes.
  CHECK(sharers_of_cpus(first, {first, second}, 2) == 2);
}

TEST_CASE("a process that is bound to one CPU uses that one") {
  cpu_set_t before, one;
  REQUIRE(::sched_getaffinity(0, sizeof(before), &before) == 0);
  int last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) last = CPU_ISSET(cpu, &before) ? cpu : last;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  REQUIRE(::sched_setaffinity(0, sizeof(one), &one) == 0);
  const std::string mask = affinity_mask();
  const std::int64_t usable = usable_cpus();
  REQUIRE(::sched_setaffinity(0, sizeof(before), &before) == 0);
  CHECK(usable == 1);
  CHECK(mask.find('1') == static_cast<std::size_t>(last));
  CHECK(mask.find('1', static_cast<std::size_t>(last) + 1) == std::string::npos);
  CHECK(affinity_mask().size() == mask.size());
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
