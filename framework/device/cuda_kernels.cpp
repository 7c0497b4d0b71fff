#include "framework/device/cuda_kernels.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "casdm/text.h"
#include "framework/device/kernel_cache.h"
#include "framework/device/nvrtc.h"
#include "framework/loading/libtorch.h"

namespace casdm {

namespace {

/// The machine code of `kernel` for `device`.
std::string code_of(const BlockKernel& kernel, int device) {
  static const Nvrtc nvrtc({"libcaffe2_nvrtc.so"});  // comes with LibTorch
  static const KernelCache cache(kernel_folder());
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  const std::vector<std::string> options = cuda_options(properties.major, properties.minor);
  const std::string source = cuda_source(kernel);
  const std::string origin =
      text("LibTorch ", loaded_libtorch().version, ", NVRTC ", nvrtc.version(), ' ', join(options, " "), '\n', source);
  return cache.code(origin, [&] { return nvrtc.compile(kernel.name, source, options).code; });
}

cudaKernel_t loaded(const BlockKernel& kernel, int device) {
  const std::string code = code_of(kernel, device);
  cudaLibrary_t library = nullptr;  // stays loaded until the process ends
  C10_CUDA_CHECK(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  cudaKernel_t result = nullptr;
  C10_CUDA_CHECK(cudaLibraryGetKernel(&result, library, kCudaEntry));
  return result;
}

}  // namespace

void launch_on_cuda(const BlockKernel& kernel, const BlockLaunch& launch) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, int>, cudaKernel_t> kernels;
  const int device = c10::cuda::current_device();
  cudaKernel_t function = nullptr;
  {
    const std::lock_guard lock(mutex);
    cudaKernel_t& known = kernels[{kernel.name, device}];
    if (known == nullptr) known = loaded(kernel, device);
    function = known;
  }
  CudaArguments arguments{};
  for (std::size_t i = 0; i < launch.tensors.size(); ++i) {
    const Tensor& tensor = launch.tensors[i];
    if (tensor.defined()) arguments.tensors[i] = const_cast<void*>(tensor.const_data_ptr());
  }
  for (std::size_t i = 0; i < launch.numbers.size(); ++i) arguments.numbers[i] = static_cast<int>(launch.numbers[i]);
  void* pointers[] = {&arguments};
  C10_CUDA_CHECK(cudaLaunchKernel(reinterpret_cast<const void*>(function), dim3(static_cast<unsigned>(launch.blocks)),
                                  dim3(static_cast<unsigned>(launch.threads)), pointers,
                                  static_cast<std::size_t>(launch.shared) * sizeof(float),
                                  c10::cuda::getCurrentCUDAStream()));
}

}  // namespace casdm
