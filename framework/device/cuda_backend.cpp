#include "framework/device/cuda_backend.h"

#include <ATen/cuda/jiterator.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "framework/device/cuda_graph.h"
#include "framework/device/cuda_kernels.h"

namespace {

int device_count() { return c10::cuda::device_count(); }

casdm_cuda_device device(int index) {
  using c10::CachingAllocator::StatType;
  casdm_cuda_device result{};
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  std::copy(std::begin(properties.name), std::end(properties.name), std::begin(result.name));
  std::copy(std::begin(properties.uuid.bytes), std::end(properties.uuid.bytes), std::begin(result.uuid));
  result.major = properties.major;
  result.minor = properties.minor;
  result.memory = static_cast<std::int64_t>(properties.totalGlobalMem);
  C10_CUDA_CHECK(cudaDriverGetVersion(&result.driver));
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
  result.peak_memory = stats.allocated_bytes[static_cast<std::size_t>(StatType::AGGREGATE)].peak;
  return result;
}

at::Tensor launch(const casdm::ElementFunction& function, const std::vector<at::Tensor>& inputs,
                  const std::vector<std::int64_t>& numbers) {
  const c10::SmallVector<at::Tensor> tensors(inputs.begin(), inputs.end());
  const c10::SmallVector<c10::Scalar> further(numbers.begin(), numbers.end());
  return at::cuda::CompileAndLaunchKernel(function.source, function.name, /*num_outputs=*/1, tensors, further,
                                          /*return_by_ref=*/false)[0];
}

void* current_stream(int index) {
  return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(index)).stream();
}

bool is_idle(int index) { return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(index)).query(); }

casdm_cuda_versions versions() {
  casdm_cuda_versions result{};
  C10_CUDA_CHECK(cudaDriverGetVersion(&result.driver));
  C10_CUDA_CHECK(cudaRuntimeGetVersion(&result.libraries));
  return result;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const casdm_cuda_backend* casdm_cuda_backend_entry() {
  static const casdm_cuda_backend backend = {
      sizeof(casdm_cuda_backend), device_count,   device,  launch,  casdm::launch_on_cuda,
      casdm::record_on_cuda,      current_stream, is_idle, versions};
  return &backend;
}
