#include <cstring>

#include "standin/element_functions.h"
#include "standin/memory.h"
#include "standin/standin.h"

namespace casdm::testing {

namespace {

int device_count() { return 1; }

casdm_cuda_device device(int) {
  casdm_cuda_device result{};
  std::strcpy(result.name, "stand-in");
  result.major = 9;
  result.memory = std::int64_t{1} << 33;
  result.driver = 13000;
  result.peak_memory = peak_device_memory();
  return result;
}

}  // namespace

const casdm_cuda_backend& cuda_standin() {
  static const casdm_cuda_backend backend = {sizeof(casdm_cuda_backend), device_count, device, run_element_function};
  return backend;
}

}  // namespace casdm::testing
