#include <algorithm>
#include <barrier>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

/// Stands in for NCCL: exchanges tensors in the memory of one process, each of whose threads is a rank.
namespace {

struct Id {
  char bytes[128];
};

struct Meeting {
  explicit Meeting(int size) : everyone(size), pointers(static_cast<std::size_t>(size)) {}
  std::barrier<> everyone;
  std::vector<float*> pointers;
  int arrived = 0;
};

struct Group {
  std::shared_ptr<Meeting> meeting;
  int rank;
};

std::mutex mutex;
// Never destroyed, since a thread that waits for others may outlive the test.
std::condition_variable& arrival = *new std::condition_variable;
std::map<std::string, std::shared_ptr<Meeting>> meetings;
int failure = 0;
int groups = 0;

constexpr int kSuccess = 0;
constexpr int kSystemError = 2;
constexpr int kInvalidArgument = 4;
constexpr int kFloat32 = 7;
constexpr int kSum = 0;

}  // namespace

extern "C" {

/// The result that ncclCommGetAsyncError reports from now on.
void fake_nccl_fail(int result) { failure = result; }

/// Groups that have not been ended.
int fake_nccl_groups() { return groups; }

int ncclGetVersion(int* version) {
  *version = 22809;
  return kSuccess;
}

int ncclGetUniqueId(Id* id) {
  static int count = 0;
  std::strcpy(id->bytes, ("meeting " + std::to_string(++count)).c_str());
  return kSuccess;
}

int ncclCommInitRank(Group** group, int size, Id id, int rank) {
  std::unique_lock lock(mutex);
  std::shared_ptr<Meeting>& meeting = meetings[id.bytes];
  if (!meeting) meeting = std::make_shared<Meeting>(size);
  *group = new Group{meeting, rank};
  ++groups;
  ++meeting->arrived;
  arrival.notify_all();
  arrival.wait(lock, [meeting = meeting, size] { return meeting->arrived == size; });
  return kSuccess;
}

int ncclAllReduce(const void*, void* elements, std::size_t count, int type, int operation, Group* group, void*) {
  if (type != kFloat32 || operation != kSum) return kInvalidArgument;
  Meeting& meeting = *group->meeting;
  auto* const own = static_cast<float*>(elements);
  meeting.pointers[static_cast<std::size_t>(group->rank)] = own;
  meeting.everyone.arrive_and_wait();
  std::vector<float> sum(count);
  for (const float* pointer : meeting.pointers) {
    for (std::size_t i = 0; i < count; ++i) sum[i] += pointer[i];
  }
  meeting.everyone.arrive_and_wait();
  std::copy(sum.begin(), sum.end(), own);
  return kSuccess;
}

int ncclBroadcast(const void*, void* elements, std::size_t count, int type, int from, Group* group, void*) {
  if (type != kFloat32) return kInvalidArgument;
  Meeting& meeting = *group->meeting;
  auto* const own = static_cast<float*>(elements);
  meeting.pointers[static_cast<std::size_t>(group->rank)] = own;
  meeting.everyone.arrive_and_wait();
  const float* source = meeting.pointers[static_cast<std::size_t>(from)];
  if (own != source) std::copy_n(source, count, own);
  meeting.everyone.arrive_and_wait();
  return kSuccess;
}

int ncclGroupStart() { return kSuccess; }
int ncclGroupEnd() { return kSuccess; }

int ncclCommGetAsyncError(Group*, int* result) {
  *result = failure;
  return kSuccess;
}

int ncclCommAbort(Group* group) {
  const std::lock_guard lock(mutex);
  --groups;
  delete group;
  return kSuccess;
}

const char* ncclGetErrorString(int result) { return result == kSystemError ? "unhandled system error" : "an error"; }
const char* ncclGetLastError(Group* group) { return group != nullptr ? "the cable is out" : nullptr; }
}
