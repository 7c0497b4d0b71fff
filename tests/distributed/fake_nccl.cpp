#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

/// Stands in for NCCL: exchanges tensors of the CPU, or of the device that stands in for CUDA, through memory that the
/// ranks share. They are threads of a process or processes. An exchange is done when it is queued; with a rank that is
/// gone it is never done, and nothing that is queued after it either.
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostRanks = 4;
constexpr std::size_t kChunk = 1 << 16;  // elements

struct Id {
  char bytes[128];
};

struct Meeting {
  std::atomic<int> arrived, waiting, round;
  std::array<std::atomic<pid_t>, kMostRanks> processes;
  std::array<std::array<float, kChunk>, kMostRanks> elements;
};

struct Group {
  Meeting* meeting;
  std::size_t rank, size;
};

std::atomic<int> failure = 0;
std::atomic<int> groups = 0;
std::atomic<bool> is_stuck = false;
void (*when_stuck)() = nullptr;

constexpr int kSuccess = 0;
constexpr int kSystemError = 2;
constexpr int kInvalidArgument = 4;
constexpr int kFloat32 = 7;
constexpr int kSum = 0;

/// Also of a process whose exit its parent has not noticed, or that is stopped.
bool is_gone(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return true;
  const char state = line.at(line.rfind(')') + 2);
  return state == 'Z' || state == 'X' || state == 'T';
}

/// Waits until all ranks have called it; false: one is gone.
bool meet(const Group& group) {
  Meeting& meeting = *group.meeting;
  const int round = meeting.round;
  if (++meeting.waiting == static_cast<int>(group.size)) {
    meeting.waiting = 0;
    ++meeting.round;
    return true;
  }
  for (int i = 1; meeting.round == round; ++i) {
    if (i % 1000 == 0 && std::any_of(meeting.processes.begin(), meeting.processes.begin() + group.size, is_gone)) {
      return false;
    }
    std::this_thread::sleep_for(50us);
  }
  return true;
}

/// With FAKE_NCCL_DIES_IN = N in the environment this process is killed in its exchange N, counted from 1.
void die_if_asked() {
  static const char* const asked = std::getenv("FAKE_NCCL_DIES_IN");
  static std::atomic<int> exchanges = 0;
  if (asked != nullptr && ++exchanges == std::atoi(asked)) ::kill(::getpid(), SIGKILL);
}

/// Calls `work(offset, length)` for one piece of a tensor after another, between meetings of all ranks.
template <class Work>
void exchange(const Group& group, const float* elements, std::size_t count, Work work) {
  die_if_asked();
  for (std::size_t offset = 0; offset < count && !is_stuck; offset += kChunk) {
    const std::size_t length = std::min(kChunk, count - offset);
    std::copy_n(elements + offset, length, group.meeting->elements[group.rank].begin());
    if (meet(group)) {
      work(offset, length);
      if (meet(group)) continue;
    }
    is_stuck = true;
  }
  if (is_stuck && when_stuck != nullptr) when_stuck();
}

}  // namespace

extern "C" {

/// The result that ncclCommGetAsyncError reports from now on.
void fake_nccl_fail(int result) { failure = result; }

/// Groups that have not been ended.
int fake_nccl_groups() { return groups; }

/// `call` is called by each exchange that is never done.
void fake_nccl_when_stuck(void (*call)()) { when_stuck = call; }

int ncclGetVersion(int* version) {
  *version = 22809;
  return kSuccess;
}

int ncclGetUniqueId(Id* id) {
  const int file = ::memfd_create("fake NCCL", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, sizeof(Meeting)) != 0) return kSystemError;
  // The file lasts as long as this process.
  std::strcpy(id->bytes, ("/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file)).c_str());
  return kSuccess;
}

int ncclCommInitRank(Group** group, int size, Id id, int rank) {
  const int file = ::open(id.bytes, O_RDWR | O_CLOEXEC);
  if (file < 0 || size > static_cast<int>(kMostRanks)) return kSystemError;
  void* const memory = ::mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED) return kSystemError;
  auto* const meeting = static_cast<Meeting*>(memory);  // a new file holds zeros
  *group = new Group{meeting, static_cast<std::size_t>(rank), static_cast<std::size_t>(size)};
  ++groups;
  meeting->processes[static_cast<std::size_t>(rank)] = ::getpid();
  for (++meeting->arrived; meeting->arrived != size;) std::this_thread::sleep_for(1ms);
  return kSuccess;
}

int ncclAllReduce(const void*, void* elements, std::size_t count, int type, int operation, Group* group, void*) {
  if (type != kFloat32 || operation != kSum) return kInvalidArgument;
  auto* const own = static_cast<float*>(elements);
  exchange(*group, own, count, [&](std::size_t offset, std::size_t length) {
    const auto& all = group->meeting->elements;
    std::copy_n(all[0].begin(), length, own + offset);
    for (std::size_t rank = 1; rank < group->size; ++rank) {
      for (std::size_t i = 0; i < length; ++i) own[offset + i] += all[rank][i];
    }
  });
  return kSuccess;
}

int ncclBroadcast(const void*, void* elements, std::size_t count, int type, int from, Group* group, void*) {
  if (type != kFloat32) return kInvalidArgument;
  auto* const own = static_cast<float*>(elements);
  exchange(*group, own, count, [&](std::size_t offset, std::size_t length) {
    std::copy_n(group->meeting->elements[static_cast<std::size_t>(from)].begin(), length, own + offset);
  });
  return kSuccess;
}

int ncclGroupStart() { return kSuccess; }
int ncclGroupEnd() { return kSuccess; }

int ncclCommGetAsyncError(Group*, int* result) {
  *result = failure;
  return kSuccess;
}

int ncclCommAbort(Group* group) {
  --groups;
  ::munmap(group->meeting, sizeof(Meeting));
  delete group;
  return kSuccess;
}

const char* ncclGetErrorString(int result) { return result == kSystemError ? "unhandled system error" : "an error"; }
const char* ncclGetLastError(Group* group) { return group != nullptr ? "the cable is out" : nullptr; }
}
