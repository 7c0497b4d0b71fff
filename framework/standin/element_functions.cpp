#include "framework/standin/element_functions.h"

#include <ATen/ATen.h>

#include <map>
#include <mutex>

#include "casdm/text.h"
#include "framework/standin/compile.h"
#include "framework/standin/counts.h"
#include "framework/standin/on_host.h"
#include "framework/standin/recorder.h"

namespace casdm::standin {

namespace {

using Loop = void (*)(std::int64_t count, const int* const* inputs, const int* numbers, int* out);

/// "in[0][i], in[1][i], numbers[0]"
std::string arguments(std::size_t inputs, std::size_t numbers) {
  std::string result;
  for (std::size_t k = 0; k < inputs; ++k) result += text(k == 0 ? "" : ", ", "in[", k, "][i]");
  for (std::size_t k = 0; k < numbers; ++k) result += text(", numbers[", k, "]");
  return result;
}

Loop compiled_loop(const ElementFunction& function, std::size_t inputs, std::size_t numbers) {
  return reinterpret_cast<Loop>(compiled(
      function.name, text(function.source,
                          "\nextern \"C\" void run(long count, const int* const* in, const int* numbers, int* out) {\n"
                          "  for (long i = 0; i < count; ++i) out[i] = ",
                          function.name, "<int>(", arguments(inputs, numbers), ");\n}\n")));
}

}  // namespace

at::Tensor run_element_function(const ElementFunction& function, const std::vector<at::Tensor>& inputs,
                                const std::vector<std::int64_t>& numbers) {
  static std::mutex mutex;
  static std::map<std::string, Loop> loops;
  const std::lock_guard lock(mutex);
  Loop& loop = loops[function.name];
  if (loop == nullptr) loop = compiled_loop(function, inputs.size(), numbers.size());

  count_launch(function.name);
  OnHost on_host(function.name);
  std::vector<at::Tensor> hosts;
  for (const at::Tensor& input : inputs) hosts.push_back(on_host.argument(input));
  const std::vector<int> constants(numbers.begin(), numbers.end());
  const auto compute = [hosts, constants, loop = loop] {
    std::vector<at::Tensor> whole = at::broadcast_tensors(hosts);
    std::vector<const int*> data;
    for (at::Tensor& host : whole) {
      host = host.contiguous();
      data.push_back(host.const_data_ptr<int>());
    }
    const at::Tensor result = at::empty(whole.front().sizes(), at::kInt);
    loop(result.numel(), data.data(), constants.data(), result.mutable_data_ptr<int>());
    return std::vector<at::Tensor>{result};
  };
  return on_host.result(recorded(compute)[0]);
}

}  // namespace casdm::standin
