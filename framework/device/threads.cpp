#include "framework/device/threads.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>

#include "casdm/text.h"

namespace casdm {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kSecondsBetweenLooks = 0.5;
constexpr double kCrowded = 0.1;     ///< waiting for a CPU above which other processes count as busy
constexpr int kLooksToShrink = 2;    ///< one second
constexpr int kLooksToGrow = 20;     ///< ten seconds at first, doubled at every change
constexpr double kPartOfACpu = 0.3;  ///< share of a CPU that other processes may use while it still counts as free

double online_cpus() { return static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)); }

std::int64_t cpus_of_affinity() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return ::sysconf(_SC_NPROCESSORS_ONLN);
  return CPU_COUNT(&set);
}

/// The quota in a control group's folder, in CPUs; tries version 2 first, then version 1.
std::optional<double> quota_in(const fs::path& folder) {
  double quota = 0;
  double period = 0;
  if (std::ifstream(folder / "cpu.max") >> quota >> period && period > 0) return quota / period;
  if (std::ifstream(folder / "cpu.cfs_quota_us") >> quota && quota > 0 &&
      std::ifstream(folder / "cpu.cfs_period_us") >> period && period > 0) {
    return quota / period;
  }
  return std::nullopt;
}

/// The smallest quota from this process's control group up to the root.
std::optional<double> cpus_of_quota() {
  std::optional<double> least;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t path = line.find('/');
    const bool is_v2 = line.starts_with("0::");
    const bool is_cpu = line.find("cpu,") != std::string::npos || line.find(":cpu:") != std::string::npos ||
                        line.find(",cpu:") != std::string::npos;
    if (path == std::string::npos || (!is_v2 && !is_cpu)) continue;
    const fs::path root = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    fs::path group = fs::path(line.substr(path)).relative_path();
    while (true) {
      if (const std::optional<double> quota = quota_in(root / group)) least = std::min(least.value_or(*quota), *quota);
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return least;
}

/// Threads of other processes that are running or ready, on average over a few milliseconds.
double ready_elsewhere() {
  constexpr int kLooks = 10;
  double total = 0;
  for (int i = 0; i < kLooks; ++i) {
    std::ifstream file("/proc/loadavg");
    std::string average;
    int ready = 1;
    file >> average >> average >> average >> ready;
    total += std::max(0, ready - 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return total / kLooks;
}

}  // namespace

std::int64_t usable_cpus() {
  const auto allowed = static_cast<double>(cpus_of_affinity());
  const double granted = std::min(allowed, std::ceil(cpus_of_quota().value_or(allowed)));
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(granted));
}

std::string affinity_mask() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return std::string(CPU_SETSIZE, '1');
  std::string result;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) result += CPU_ISSET(cpu, &set) ? '1' : '0';
  return result;
}

std::int64_t sharers_of_cpus(const std::string& own, const std::vector<std::string>& masks, std::int64_t usable) {
  const bool is_limited = usable < std::count(own.begin(), own.end(), '1');
  return std::count_if(masks.begin(), masks.end(), [&](const std::string& mask) {
    bool overlaps = is_limited;
    for (std::size_t cpu = 0; cpu < std::min(own.size(), mask.size()); ++cpu) {
      overlaps = overlaps || (own[cpu] == '1' && mask[cpu] == '1');
    }
    return overlaps;
  });
}

std::int64_t threads_beside(const CpuLoad& load, double cpus, std::int64_t limit) {
  const auto left = static_cast<std::int64_t>(std::floor(cpus - load.others + kPartOfACpu));
  return std::clamp<std::int64_t>(left, 1, limit);
}

/// Measures the load between two looks.
class CpuThreads::LoadMeter {
 public:
  /// Empty if the last look was only a moment ago, or if the kernel has no counters.
  std::optional<CpuLoad> look() {
    const double seconds = std::chrono::duration<double>(Clock::now() - looked_).count();
    if (seconds < kSecondsBetweenLooks) return std::nullopt;
    const Counters before = std::exchange(counters_, read());
    looked_ = Clock::now();
    if (!before.are_known || !counters_.are_known) return std::nullopt;
    CpuLoad load;
    load.others = std::max(0.0, (counters_.all - before.all) - (counters_.own - before.own)) / seconds;
    load.waiting = std::max(0.0, counters_.waiting - before.waiting) / seconds;
    return load;
  }

 private:
  /// In seconds, from an arbitrary start.
  struct Counters {
    bool are_known = false;
    double all = 0;      ///< CPU time of every process
    double own = 0;      ///< of this one
    double waiting = 0;  ///< threads of this process that were ready but had no CPU
  };

  static Counters read() {
    Counters result;
    std::ifstream stat("/proc/stat");
    std::string cpu;
    double user = 0, nice = 0, system = 0;
    result.are_known = static_cast<bool>(stat >> cpu >> user >> nice >> system);
    result.all = (user + nice + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    result.own = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    std::error_code error;
    for (const auto& task : fs::directory_iterator("/proc/self/task", error)) {
      double running = 0;
      double waiting = 0;
      if (std::ifstream(task.path() / "schedstat") >> running >> waiting) result.waiting += waiting * 1e-9;
    }
    return result;
  }

  Counters counters_ = read();
  Clock::time_point looked_ = Clock::now();
};

/// While this object lives, libgomp sees more threads than CPUs. It then lets a waiting thread sleep after a few
/// hundred spins instead of a few milliseconds (its "throttled" spin count).
class CpuThreads::SleepingWaits {
 public:
  SleepingWaits() : thread_([this] { hold(); }) {}
  ~SleepingWaits() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    over_.notify_one();
    thread_.join();
  }

 private:
  /// The threads of a parallel region stay asleep with the thread that opened it, and count until it ends.
  void hold() {
    const auto set_threads = reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    if (set_threads != nullptr) {
      const auto enough = static_cast<int>(cpus_of_affinity() + 1);
      at::get_num_threads();  // initialises LibTorch for this thread; must precede the next line
      set_threads(enough);    // affects only this thread
      at::parallel_for(0, enough, 1, [](std::int64_t, std::int64_t) {});
    }
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return is_over_; });
  }

  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::thread thread_;
};

CpuThreads::CpuThreads(std::int64_t asked)
    : is_chosen_(asked == 0 && std::getenv("OMP_NUM_THREADS") == nullptr),
      limit_(is_chosen_  ? usable_cpus()
             : asked > 0 ? asked
                         : at::get_num_threads()),
      count_(limit_),
      looks_to_grow_(kLooksToGrow) {
  if (limit_ > 1) {
    const CpuLoad load{.others = ready_elsewhere()};
    const std::int64_t fitting = threads_beside(load, online_cpus(), limit_);
    if (is_chosen_) {
      count_ = fitting;
    } else if (fitting < limit_) {
      sleeping_ = std::make_unique<SleepingWaits>();
    }
    meter_ = std::make_unique<LoadMeter>();
  }
  at::set_num_threads(static_cast<int>(count_));
}

CpuThreads::~CpuThreads() = default;

std::string CpuThreads::describe() const {
  const std::string result = text(count_, count_ == 1 ? " thread" : " threads");
  const std::int64_t cpus = usable_cpus();
  if (count_ > cpus) {
    return text(result, " on ", cpus, cpus == 1 ? " CPU" : " CPUs",
                ", where they slow each other down; run.threads = 0 uses as many as there are CPUs");
  }
  if (count_ < limit_) {
    return text(result, " of ", limit_, ", since other processes are busy; run.threads = ", limit_, " uses them all");
  }
  return sleeping_ ? result + ", which sleep while they wait for one another, since other processes are busy" : result;
}

std::string CpuThreads::update() {
  const std::optional<CpuLoad> load = meter_ ? meter_->look() : std::nullopt;
  if (!load) return {};
  const std::int64_t fitting = threads_beside(*load, online_cpus(), limit_);
  const std::int64_t now = sleeping_ ? limit_ - 1 : count_;
  crowded_looks_ = fitting < now && load->waiting > kCrowded ? crowded_looks_ + 1 : 0;
  free_looks_ = fitting > now ? free_looks_ + 1 : 0;
  const bool shrinks = crowded_looks_ >= kLooksToShrink;
  const bool grows = free_looks_ >= looks_to_grow_;
  if (!shrinks && !grows) return {};
  crowded_looks_ = free_looks_ = 0;
  if (shrinks) looks_to_grow_ *= 2;
  if (!is_chosen_) {
    if (shrinks != (sleeping_ != nullptr)) sleeping_ = shrinks ? std::make_unique<SleepingWaits>() : nullptr;
    return {};
  }
  count_ = fitting;
  at::set_num_threads(static_cast<int>(count_));
  return text(count_, count_ == 1 ? " thread" : " threads", " from here on, since other processes ",
              shrinks ? "are busy" : "have left the CPUs",
              "; the last bits of results depend on the number (run.threads sets it)");
}

}  // namespace casdm
