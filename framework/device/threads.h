#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace casdm {

/// The CPUs that this process may use: its affinity mask, or the quota of its control group if that is smaller.
std::int64_t usable_cpus();

/// The affinity mask of this process: a character for each CPU, '1' if the process may use it, else '0'.
std::string affinity_mask();

/// Of the processes with these affinity masks, the number of those that share the usable CPUs of the one with the mask
/// `own`, itself included: those that may use one of the same CPUs; or all of them, if a quota limits it to fewer CPUs
/// than its mask has, since that quota may be one for all.
std::int64_t sharers_of_cpus(const std::string& own, const std::vector<std::string>& masks, std::int64_t usable);

/// How busy the machine is, from the kernel's counters.
struct CpuLoad {
  double others = 0;  ///< CPUs that other processes used, as an average
  double waiting =
      0;  ///< fraction of the time that threads of this process were ready but had no CPU, summed over them
};

/// The number of threads for `load` on a machine with `cpus` CPUs: as many as other processes leave free, between 1 and
/// `limit`.
std::int64_t threads_beside(const CpuLoad& load, double cpus, std::int64_t limit);

/// The threads of LibTorch's CPU operations while this object lives.
///
/// They wait for one another in loops, which is fastest on free CPUs. On a CPU that another process wants, such a loop
/// can keep the very thread it waits for from running. So by default there are as many threads as CPUs that other
/// processes leave free, and the number follows the machine's load. The last bits of results depend on it; a number
/// that was asked for, here or by OMP_NUM_THREADS, is never changed. If other processes are busy, waiting threads
/// sleep.
class CpuThreads {
 public:
  /// @param asked  number of threads; 0: chosen by the machine's load, at most one per usable CPU
  explicit CpuThreads(std::int64_t asked);
  ~CpuThreads();
  CpuThreads(const CpuThreads&) = delete;
  CpuThreads& operator=(const CpuThreads&) = delete;

  std::int64_t count() const { return count_; }

  /// "2 threads", with what a user should know: that other processes are busy, or that there are fewer CPUs.
  std::string describe() const;

  /// Adjusts to the load; to be called between steps, by the thread that computes. Returns a sentence if the number of
  /// threads changed, else an empty string.
  std::string update();

 private:
  class LoadMeter;
  class SleepingWaits;

  bool is_chosen_;      ///< by the load
  std::int64_t limit_;  ///< the requested number, or one per usable CPU
  std::int64_t count_;
  std::unique_ptr<LoadMeter> meter_;
  std::unique_ptr<SleepingWaits> sleeping_;
  int crowded_looks_ = 0;
  int free_looks_ = 0;
  int looks_to_grow_;
};

}  // namespace casdm
