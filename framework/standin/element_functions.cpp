#include "framework/standin/element_functions.h"

#include <ATen/ATen.h>
#include <dlfcn.h>

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/standin/counts.h"
#include "framework/standin/on_host.h"
#include "framework/support/shell_word.h"

namespace casdm::standin {

namespace {

/// What CUDA offers without an include, as far as element functions use it.
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

using Loop = void (*)(std::int64_t count, const int* const* inputs, const int* numbers, int* out);

/// "in[0][i], in[1][i], numbers[0]"
std::string arguments(std::size_t inputs, std::size_t numbers) {
  std::string result;
  for (std::size_t k = 0; k < inputs; ++k) result += text(k == 0 ? "" : ", ", "in[", k, "][i]");
  for (std::size_t k = 0; k < numbers; ++k) result += text(", numbers[", k, "]");
  return result;
}

Loop compiled(const ElementFunction& function, std::size_t inputs, std::size_t numbers) {
  std::string folder = (std::filesystem::temp_directory_path() / "casdm-function-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw Error(text("cannot make the folder ", folder));
  const std::filesystem::path source = folder + "/function.cpp", library = folder + "/function.so";
  std::ofstream(source) << kBefore << function.source << "\nextern \"C\" void run(long count, const int* const* in, "
                        << "const int* numbers, int* out) {\n  for (long i = 0; i < count; ++i) out[i] = "
                        << function.name << "<int>(" << arguments(inputs, numbers) << ");\n}\n";
  const char* compiler = std::getenv("CXX");
  const std::string command =
      text(compiler == nullptr ? "c++" : compiler, " -std=c++20 -O2 -ffp-contract=off -shared -fPIC -o ",
           shell_word(library.string()), " ", shell_word(source.string()));
  const int status = std::system(command.c_str());
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::filesystem::remove_all(folder);
  if (status != 0) throw Error(text(function.name, " cannot be compiled: ", command));
  if (handle == nullptr) throw Error(::dlerror());
  return reinterpret_cast<Loop>(::dlsym(handle, "run"));
}

}  // namespace

at::Tensor run_element_function(const ElementFunction& function, const std::vector<at::Tensor>& inputs,
                                const std::vector<std::int64_t>& numbers) {
  static std::mutex mutex;
  static std::map<std::string, Loop> loops;
  const std::lock_guard lock(mutex);
  Loop& loop = loops[function.name];
  if (loop == nullptr) loop = compiled(function, inputs.size(), numbers.size());

  count_launch(function.name);
  OnHost on_host(function.name);
  std::vector<at::Tensor> hosts;
  for (const at::Tensor& input : inputs) hosts.push_back(on_host.argument(input));
  hosts = at::broadcast_tensors(hosts);
  std::vector<const int*> data;
  for (at::Tensor& host : hosts) {
    host = host.contiguous();
    data.push_back(host.const_data_ptr<int>());
  }
  const std::vector<int> constants(numbers.begin(), numbers.end());
  const at::Tensor result = at::empty(hosts.front().sizes(), at::kInt);
  loop(result.numel(), data.data(), constants.data(), result.mutable_data_ptr<int>());
  return on_host.result(result);
}

}  // namespace casdm::standin
