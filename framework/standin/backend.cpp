#include <unistd.h>

#include <cstring>

#include "framework/standin/block_kernels.h"
#include "framework/standin/element_functions.h"
#include "framework/standin/memory.h"
#include "framework/standin/recorder.h"
#include "framework/standin/standin.h"

namespace casdm::standin {

namespace {

constexpr int kVersion = 13000;

int device_count() { return 1; }

std::string waits_in(const std::function<void()>& work) {
  const DeviceUse before = device_use();
  work();
  const DeviceUse use = device_use() - before;
  return use.waits == 0 ? "" : describe_waits(use);
}

casdm_cuda_device device(int) {
  casdm_cuda_device result{};
  std::strcpy(result.name, "stand-in");
  result.major = 9;
  const pid_t process = ::getpid();  // each process has its own
  std::memcpy(result.uuid, &process, sizeof(process));
  result.memory = std::int64_t{1} << 33;
  result.driver = kVersion;
  result.peak_memory = peak_device_memory();
  return result;
}

casdm_cuda_versions versions() { return {kVersion, kVersion}; }

}  // namespace

const casdm_cuda_backend& cuda_standin() {
  static const casdm_cuda_backend backend = {sizeof(casdm_cuda_backend),
                                             device_count,
                                             device,
                                             run_element_function,
                                             run_block_kernel,
                                             record,
                                             nullptr,
                                             nullptr,
                                             versions};
  return backend;
}

}  // namespace casdm::standin

const casdm::standin::Entry* casdm_standin_entry() {
  static const casdm::standin::Entry entry = {&casdm::standin::cuda_standin(), casdm::standin::waits_in};
  return &entry;
}
