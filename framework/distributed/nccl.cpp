#include "framework/distributed/nccl.h"

#include <dlfcn.h>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

// Values of NCCL's enumerations.
constexpr int kSuccess = 0;
constexpr int kFloat32 = 7;
constexpr int kSum = 0;

void* first_library(const std::vector<std::string>& libraries) {
  std::vector<std::string> failures;
  for (const std::string& library : libraries) {
    if (void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
    failures.emplace_back(::dlerror());
  }
  throw Error("NCCL cannot be loaded: " + join(failures, "; "));
}

template <class Function>
void find_function(Function*& function, void* library, const char* name) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function == nullptr) throw Error(text("this NCCL has no function ", name));
}

}  // namespace

Nccl::Nccl(const std::vector<std::string>& libraries) {
  void* const library = first_library(libraries);
  find_function(version_, library, "ncclGetVersion");
  find_function(id_, library, "ncclGetUniqueId");
  find_function(connect_, library, "ncclCommInitRank");
  find_function(sum_, library, "ncclAllReduce");
  find_function(broadcast_, library, "ncclBroadcast");
  find_function(begin_, library, "ncclGroupStart");
  find_function(end_, library, "ncclGroupEnd");
  find_function(state_, library, "ncclCommGetAsyncError");
  find_function(abort_, library, "ncclCommAbort");
  find_function(reason_, library, "ncclGetErrorString");
  find_function(last_, library, "ncclGetLastError");
}

void Nccl::require(int result, const char* what, Group group) const {
  if (result == kSuccess) return;
  const char* const more = last_(group);
  const std::string last = more != nullptr ? more : "";
  throw Error(text("NCCL, ", what, ": ", reason_(result), last.empty() ? "" : ": ", last));
}

std::string Nccl::version() const {
  int code = 0;
  require(version_(&code), "ncclGetVersion");
  return text(code / 10000, '.', code / 100 % 100, '.', code % 100);
}

Nccl::Id Nccl::new_id() const {
  Id id{};
  require(id_(&id), "ncclGetUniqueId");
  return id;
}

Nccl::Group Nccl::connect(const Id& id, int rank, int size) const {
  Group group = nullptr;
  require(connect_(&group, size, id, rank), "ncclCommInitRank");
  return group;
}

void Nccl::sum(Group group, float* elements, std::size_t count, void* stream) const {
  require(sum_(elements, elements, count, kFloat32, kSum, group, stream), "ncclAllReduce", group);
}

void Nccl::broadcast(Group group, float* elements, std::size_t count, int from, void* stream) const {
  require(broadcast_(elements, elements, count, kFloat32, from, group, stream), "ncclBroadcast", group);
}

void Nccl::begin() const { require(begin_(), "ncclGroupStart"); }

void Nccl::end() const { require(end_(), "ncclGroupEnd"); }

void Nccl::check(Group group) const {
  int state = kSuccess;
  require(state_(group, &state), "ncclCommGetAsyncError", group);
  require(state, "an exchange has failed", group);
}

}  // namespace casdm
