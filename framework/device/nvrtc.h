#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "casdm/block_kernel.h"

namespace casdm {

/// NVRTC, CUDA's compiler of source text. It needs no GPU.
class Nvrtc {
 public:
  /// Loads the first of these libraries that can be loaded; it stays loaded. Throws Error.
  explicit Nvrtc(const std::vector<std::string>& libraries);

  /// "13.0"
  std::string version() const;

  /// Machine code, and what the compiler said.
  struct Compiled {
    std::string code;
    std::string log;
  };

  /// Throws Error with the compiler's messages.
  /// @param name  of the kernel, for messages
  Compiled compile(const std::string& name, const std::string& source, const std::vector<std::string>& options) const;

 private:
  using Program = void*;
  // Declared here, since no wheel that we require contains NVRTC's header.
  int (*version_)(int*, int*);
  int (*create_)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile_)(Program, int, const char* const*);
  int (*code_size_)(Program, std::size_t*);
  int (*code_)(Program, char*);
  int (*log_size_)(Program, std::size_t*);
  int (*log_)(Program, char*);
  int (*destroy_)(Program*);
};

/// What a kernel of CUDA looks like to the host.
inline constexpr const char* kCudaEntry = "casdm_kernel";
inline constexpr int kCudaArguments = 16;

struct CudaArguments {
  void* tensors[kCudaArguments];
  int numbers[kCudaArguments];
};

/// CUDA C++ of `kernel` with its entry, of the name kCudaEntry, which takes CudaArguments.
std::string cuda_source(const BlockKernel& kernel);

/// The options that it is compiled with for a compute capability.
std::vector<std::string> cuda_options(int major, int minor);

}  // namespace casdm
