#include "framework/device/cuda_kernels.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <utility>

namespace casdm {

namespace {

/// The functions of NVRTC, which comes with LibTorch as libcaffe2_nvrtc.so. No wheel that we require contains their
/// header.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(Program, int, const char* const*);
  int (*code_size)(Program, std::size_t*);
  int (*code)(Program, char*);
  int (*log_size)(Program, std::size_t*);
  int (*log)(Program, char*);
  int (*destroy)(Program*);

  Nvrtc() {
    void* library = ::dlopen("libcaffe2_nvrtc.so", RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(library != nullptr, "NVRTC, which compiles kernels, cannot be loaded: ", ::dlerror());
    const auto find = [library](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
      TORCH_CHECK(function != nullptr, "NVRTC has no function ", name);
    };
    find(create, "nvrtcCreateProgram");
    find(compile, "nvrtcCompileProgram");
    find(code_size, "nvrtcGetCUBINSize");
    find(code, "nvrtcGetCUBIN");
    find(log_size, "nvrtcGetProgramLogSize");
    find(log, "nvrtcGetProgramLog");
    find(destroy, "nvrtcDestroyProgram");
  }
};

constexpr int kMostArguments = 12;

struct Arguments {
  void* tensors[kMostArguments];
  int numbers[kMostArguments];
};

std::string program_of(const BlockKernel& kernel) {
  std::string result = std::string(kBlockPrelude) + kernel.source +
                       "\nstruct Arguments { void* tensors[12]; int numbers[12]; };\n"
                       "extern \"C\" __global__ void __launch_bounds__(1024) casdm_kernel(const Arguments a) {\n"
                       "  extern __shared__ float shared[];\n"
                       "  const Block block = {static_cast<int>(blockIdx.x), static_cast<int>(threadIdx.x), "
                       "static_cast<int>(blockDim.x), shared, a.tensors, a.numbers};\n";
  for (int phase = 0; phase < kernel.phases; ++phase) {
    result +=
        (phase == 0 ? "  " : "  __syncthreads();\n  ") + kernel.name + "<" + std::to_string(phase) + ">(block);\n";
  }
  return result + "}\n";
}

cudaKernel_t compiled(const BlockKernel& kernel, int device) {
  static const Nvrtc nvrtc;
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  const std::string target =
      "--gpu-architecture=sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
  const char* const options[] = {target.c_str(), "--std=c++17", "--device-as-default-execution-space"};
  const std::string source = program_of(kernel), file = kernel.name + ".cu";
  Nvrtc::Program program = nullptr;
  TORCH_CHECK(nvrtc.create(&program, source.c_str(), file.c_str(), 0, nullptr, nullptr) == 0,
              "NVRTC refuses the kernel ", kernel.name);
  if (nvrtc.compile(program, static_cast<int>(std::size(options)), options) != 0) {
    std::size_t size = 0;
    nvrtc.log_size(program, &size);
    std::string log(size, '\0');
    nvrtc.log(program, log.data());
    TORCH_CHECK(false, "the kernel ", kernel.name, " cannot be compiled for ", target, ":\n", log.c_str());
  }
  std::size_t size = 0;
  nvrtc.code_size(program, &size);
  std::string code(size, '\0');
  nvrtc.code(program, code.data());
  nvrtc.destroy(&program);
  cudaLibrary_t library = nullptr;  // stays loaded until the process ends
  C10_CUDA_CHECK(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  cudaKernel_t result = nullptr;
  C10_CUDA_CHECK(cudaLibraryGetKernel(&result, library, "casdm_kernel"));
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
    if (known == nullptr) known = compiled(kernel, device);
    function = known;
  }
  Arguments arguments{};
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
