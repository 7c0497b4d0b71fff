#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace casdm {

/// CPUs that this process may use: those of its affinity mask, or the quota of its control group where that is less.
std::int64_t usable_cpus();

/// How busy the machine is, from the kernel's counters.
struct CpuLoad {
  double others = 0;   ///< CPUs' worth of time that other processes took
  double waiting = 0;  ///< part of the time that threads of this process were ready but had no CPU, summed over them
};

/// The number of threads for `load` on a machine of `cpus` CPUs, at most `limit` and at least 1: as many as the other
/// processes leave CPUs.
std::int64_t threads_beside(const CpuLoad& load, double cpus, std::int64_t limit);

/// The threads of LibTorch's CPU operations while this lives.
///
/// They wait for one another in loops, which is fastest on free CPUs. On a CPU that another process wants, a loop keeps
/// the very thread it waits for from running. So by default there are as many threads as other processes leave CPUs,
/// and the number follows the machine's load. The last bits of results depend on it; a number that was asked for, here
/// or by OMP_NUM_THREADS, is never changed. Beside busy processes its threads sleep while they wait.
class CpuThreads {
 public:
  /// @param asked  number of threads; 0: chosen by the machine's load, at most one per usable CPU
  explicit CpuThreads(std::int64_t asked);
  ~CpuThreads();
  CpuThreads(const CpuThreads&) = delete;
  CpuThreads& operator=(const CpuThreads&) = delete;

  std::int64_t count() const { return count_; }

  /// "2 threads", with what a user should know: that other processes are busy, that there are fewer CPUs.
  std::string describe() const;

  /// Follows the load; to be called between steps, by the thread that computes. Returns a sentence when the number of
  /// threads changed, else an empty string.
  std::string update();

 private:
  class LoadMeter;
  class SleepingWaits;

  bool is_chosen_;      ///< by load
  std::int64_t limit_;  ///< the number asked for, or one per usable CPU
  std::int64_t count_;
  std::unique_ptr<LoadMeter> meter_;
  std::unique_ptr<SleepingWaits> sleeping_;
  int crowded_looks_ = 0;
  int free_looks_ = 0;
  int looks_to_grow_;
};

}  // namespace casdm
