#include "framework/standin/compile.h"

#include <dlfcn.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/device/kernel_cache.h"
#include "framework/support/files.h"
#include "framework/support/scratch_folder.h"
#include "framework/support/shell_word.h"

namespace casdm::standin {

namespace {

/// The declarations that CUDA provides without an include, as far as casdm's kernels use them.
constexpr const char* kBefore = R"(
#include <bit>
#include <cmath>
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
)";

/// Changes signal handlers as NVRTC does: the handlers stay the same but get the flags of signal().
void put_back_handlers() {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, std::signal(signal, SIG_DFL));
}

}  // namespace

void* compiled(const std::string& name, const std::string& source) {
  static const KernelCache cache(kernel_folder());
  const char* named = std::getenv("CXX");
  const std::string compiler =
      text(named == nullptr ? "c++" : named, " -std=c++20 -O2 -ffp-contract=off -shared -fPIC -o ");
  const ScratchFolder folder("casdm-function");
  const std::filesystem::path file = folder.path() + "/function.cpp", library = folder.path() + "/function.so";
  const std::string code = cache.code(text(compiler, '\n', kBefore, source), [&] {
    std::ofstream(file) << kBefore << source;
    const std::string command = text(compiler, shell_word(library.string()), " ", shell_word(file.string()));
    if (std::system(command.c_str()) != 0) throw Error(text(name, " cannot be compiled: ", command));
    return read_file(library);
  });
  put_back_handlers();
  std::ofstream(library, std::ios::binary) << code;
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error(::dlerror());
  return ::dlsym(handle, "run");
}

}  // namespace casdm::standin
