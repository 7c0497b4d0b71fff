#include <cstdlib>
#include <fstream>

#include "framework/standin/standin.h"

namespace {

/// At the end of the program, writes its use of the device to the file CASDM_STANDIN_USE of the environment: waits, the
/// bytes of copies that were waited for, launches; then the waits in words.
void write_use() {
  const char* const path = std::getenv("CASDM_STANDIN_USE");
  if (path == nullptr) return;
  const casdm::standin::DeviceUse use = casdm::standin::device_use();
  std::ofstream(path) << use.waits << ' ' << use.waited_bytes << ' ' << use.launches << '\n'
                      << casdm::standin::describe_waits(use) << '\n';
}

/// Objects of the first thread are destroyed before all others.
struct UseWriter {
  bool is_there = true;
  ~UseWriter() { write_use(); }
};
thread_local UseWriter use_writer;

/// Linked to the program's main(), it makes the stand-in the CUDA device of the program.
[[maybe_unused]] const bool is_offered = [] {
  casdm::use_cuda_backend(casdm::standin::cuda_standin());
  return use_writer.is_there;
}();

}  // namespace
