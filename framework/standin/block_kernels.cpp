#include "framework/standin/block_kernels.h"

#include <limits>
#include <map>
#include <mutex>

#include "casdm/text.h"
#include "framework/standin/compile.h"
#include "framework/standin/counts.h"
#include "framework/standin/on_host.h"
#include "framework/standin/recorder.h"

namespace casdm::standin {

namespace {

using Run = void (*)(int blocks, int threads, float* shared, void* const* tensors, const int* numbers);

/// In every other block the threads run in opposite order, since none may depend on another within a phase.
Run compiled_kernel(const BlockKernel& kernel) {
  std::string source = text(kBlockPrelude, kernel.source,
                            "\nextern \"C\" void run(int blocks, int threads, float* shared, void* const* tensors, "
                            "const int* numbers) {\n  for (int block = 0; block < blocks; ++block) {\n");
  for (int phase = 0; phase < kernel.phases; ++phase) {
    source += text("    for (int i = 0; i < threads; ++i) ", kernel.name, "<", phase,
                   ">({block, block % 2 ? i : threads - 1 - i, threads, shared, tensors, numbers});\n");
  }
  return reinterpret_cast<Run>(compiled(kernel.name, source + "  }\n}\n"));
}

}  // namespace

void run_block_kernel(const BlockKernel& kernel, const BlockLaunch& launch) {
  static std::mutex mutex;
  static std::map<std::string, Run> runs;
  const std::lock_guard lock(mutex);
  Run& run = runs[kernel.name];
  if (run == nullptr) run = compiled_kernel(kernel);

  count_launch(kernel.name);
  OnHost on_host(kernel.name);
  std::vector<at::Tensor> hosts;
  for (const at::Tensor& tensor : launch.tensors) hosts.push_back(on_host.argument(tensor));
  const std::vector<int> numbers(launch.numbers.begin(), launch.numbers.end());
  const auto compute = [hosts, numbers, run = run, blocks = static_cast<int>(launch.blocks),
                        threads = static_cast<int>(launch.threads), shared_count = launch.shared] {
    std::vector<void*> data;
    for (const at::Tensor& host : hosts) {
      data.push_back(host.defined() ? const_cast<void*>(host.const_data_ptr()) : nullptr);
    }
    // Like uninitialised memory: reading a value before it is written spoils the result.
    std::vector<float> shared(static_cast<std::size_t>(shared_count), std::numeric_limits<float>::quiet_NaN());
    run(blocks, threads, shared.data(), data.data(), numbers.data());
  };
  if (Recorder* recorder = Recorder::current()) {
    // It may write to any of them.
    for (const at::Tensor& host : hosts) {
      if (host.defined()) recorder->will_write(host.storage());
    }
    recorder->add(compute);
  }
  compute();
}

}  // namespace casdm::standin
