#include "framework/device/nvrtc.h"

#include <dlfcn.h>

#include <filesystem>
#include <memory>
#include <type_traits>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

void* first_of(const std::vector<std::string>& libraries) {
  std::vector<std::string> failures;
  for (const std::string& library : libraries) {
    if (void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
    failures.emplace_back(::dlerror());
  }
  throw Error("NVRTC, which compiles kernels, cannot be loaded: " + join(failures, "; "));
}

template <class Function>
void find(Function*& function, void* library, const char* name) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function == nullptr) throw Error(text("NVRTC has no function ", name));
}

/// NVRTC opens its other library by name alone. Without a toolkit, the loader finds that name only if the library is
/// loaded already; if it cannot be, NVRTC says so.
/// @param function  one of NVRTC's
void load_builtins(void* function, const std::string& version) {
  Dl_info place{};
  if (::dladdr(function, &place) == 0 || place.dli_fname == nullptr) return;
  const std::filesystem::path folder = std::filesystem::path(place.dli_fname).parent_path();
  ::dlopen((folder / ("libnvrtc-builtins.so." + version)).c_str(), RTLD_NOW | RTLD_LOCAL);
}

}  // namespace

Nvrtc::Nvrtc(const std::vector<std::string>& libraries) {
  void* const library = first_of(libraries);
  find(version_, library, "nvrtcVersion");
  find(create_, library, "nvrtcCreateProgram");
  find(compile_, library, "nvrtcCompileProgram");
  find(code_size_, library, "nvrtcGetCUBINSize");
  find(code_, library, "nvrtcGetCUBIN");
  find(log_size_, library, "nvrtcGetProgramLogSize");
  find(log_, library, "nvrtcGetProgramLog");
  find(destroy_, library, "nvrtcDestroyProgram");
  load_builtins(reinterpret_cast<void*>(version_), version());
}

std::string Nvrtc::version() const {
  int major = 0, minor = 0;
  version_(&major, &minor);
  return text(major, '.', minor);
}

Nvrtc::Compiled Nvrtc::compile(const std::string& name, const std::string& source,
                               const std::vector<std::string>& options) const {
  Program created = nullptr;
  if (create_(&created, source.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr) != 0) {
    throw Error(text("NVRTC refuses the kernel ", name));
  }
  const auto destroy = [this](Program* program) { destroy_(program); };
  const std::unique_ptr<Program, decltype(destroy)> program(&created, destroy);
  std::vector<const char*> words;
  words.reserve(options.size());
  for (const std::string& option : options) words.push_back(option.c_str());
  const bool is_good = compile_(created, static_cast<int>(words.size()), words.data()) == 0;
  const auto read = [&](int (*size_of)(Program, std::size_t*), int (*content)(Program, char*)) {
    std::size_t size = 0;
    size_of(created, &size);
    std::string result(size, '\0');
    content(created, result.data());
    return result;
  };
  Compiled result;
  result.log = read(log_size_, log_);
  if (!result.log.empty()) result.log.pop_back();  // the zero at its end
  if (!is_good) throw Error(text("the kernel ", name, " cannot be compiled (", join(options, " "), "):\n", result.log));
  result.code = read(code_size_, code_);
  return result;
}

std::string cuda_source(const BlockKernel& kernel) {
  std::string result =
      text(kBlockPrelude, kernel.source, "\nstruct Arguments { void* tensors[", kCudaArguments, "]; int numbers[",
           kCudaArguments, "]; };\nextern \"C\" __global__ void __launch_bounds__(1024) ", kCudaEntry,
           "(const Arguments a) {\n"
           "  extern __shared__ float shared[];\n"
           "  const Block block = {static_cast<int>(blockIdx.x), static_cast<int>(threadIdx.x), "
           "static_cast<int>(blockDim.x), shared, a.tensors, a.numbers};\n");
  for (int phase = 0; phase < kernel.phases; ++phase) {
    result += text(phase == 0 ? "  " : "  __syncthreads();\n  ", kernel.name, "<", phase, ">(block);\n");
  }
  return result + "}\n";
}

std::vector<std::string> cuda_options(int major, int minor) {
  return {text("--gpu-architecture=sm_", major, minor), "--std=c++17", "--device-as-default-execution-space"};
}

}  // namespace casdm
