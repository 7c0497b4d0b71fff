#include "framework/standin/compile.h"

#include <dlfcn.h>

#include <stdlib.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "casdm/error.h"
#include "casdm/text.h"
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
  std::string folder = (std::filesystem::temp_directory_path() / "casdm-function-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw Error(text("cannot make the folder ", folder));
  const std::filesystem::path file = folder + "/function.cpp", library = folder + "/function.so";
  std::ofstream(file) << kBefore << source;
  const char* compiler = std::getenv("CXX");
  const std::string command =
      text(compiler == nullptr ? "c++" : compiler, " -std=c++20 -O2 -ffp-contract=off -shared -fPIC -o ",
           shell_word(library.string()), " ", shell_word(file.string()));
  const int status = std::system(command.c_str());
  put_back_handlers();
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::filesystem::remove_all(folder);
  if (status != 0) throw Error(text(name, " cannot be compiled: ", command));
  if (handle == nullptr) throw Error(::dlerror());
  return ::dlsym(handle, "run");
}

}  // namespace casdm::standin
