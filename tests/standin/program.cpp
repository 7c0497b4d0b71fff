#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/function.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

#include "framework/standin/counts.h"
#include "framework/standin/standin.h"

namespace {

/// Exchanges that were queued during a backward pass, on another stream than the default one.
std::atomic<int> exchanges_beside = 0;

/// At the end of the program, writes its use of the device to the file CASDM_STANDIN_USE of the environment: waits, the
/// bytes of copies that were waited for, launches, launches queued behind what was waited for, exchanges_beside; then
/// the waits in words.
void write_use() {
  const char* const path = std::getenv("CASDM_STANDIN_USE");
  if (path == nullptr) return;
  const casdm::standin::DeviceUse use = casdm::standin::device_use();
  std::ofstream(path) << use.waits << ' ' << use.waited_bytes << ' ' << use.launches << ' ' << use.queued << ' '
                      << exchanges_beside << '\n'
                      << casdm::standin::describe_waits(use) << '\n';
}

/// Thread-local, since the program ends before its static objects are destroyed (end_without_libtorch).
struct UseWriter {
  bool is_there = true;
  ~UseWriter() { write_use(); }
};
thread_local UseWriter use_writer;

/// A function of the library that stands in for NCCL (tests/distributed/fake_nccl.cpp).
template <class Function>
Function* nccl_function(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(::dlopen("libnccl.so.2", RTLD_NOW | RTLD_NOLOAD), name));
}

/// The stream on which an exchange is going to be queued.
void* current_stream(int) {
  [[maybe_unused]] static const bool is_told = [] {
    nccl_function<void(void (*)())>("fake_nccl_when_stuck")(casdm::standin::hang);
    return true;
  }();
  const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
  const bool is_beside = guard.getStream(guard.getDevice()) != guard.getDefaultStream(guard.getDevice());
  if (is_beside && torch::autograd::get_current_node() != nullptr) ++exchanges_beside;
  return nullptr;
}

bool is_idle(int) {
  casdm::standin::count_wait("all exchanges");
  return !casdm::standin::is_hanging();
}

/// With CASDM_STANDIN_NCCL in the environment the device is one of NCCL's; with CASDM_STANDIN_DEVICES there is none.
const casdm_cuda_backend& backend() {
  static const casdm_cuda_backend result = [] {
    casdm_cuda_backend own = casdm::standin::cuda_standin();
    if (std::getenv("CASDM_STANDIN_DEVICES") != nullptr) own.device_count = [] { return 0; };
    if (std::getenv("CASDM_STANDIN_NCCL") == nullptr) return own;
    own.current_stream = current_stream;
    own.is_idle = is_idle;
    return own;
  }();
  return result;
}

/// Linked to the program's main(), it makes the stand-in the CUDA device of the program.
[[maybe_unused]] const bool is_offered = [] {
  casdm::use_cuda_backend(backend());
  return use_writer.is_there;
}();

}  // namespace
