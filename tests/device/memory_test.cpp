#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <new>

#include "framework/composition/memory_advice.h"
#include "framework/support/exception_message.h"

using namespace casdm;

namespace {

/// What `work` throws, as the program would print it.
template <class Work>
std::string thrown(Work&& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return exception_message(error);
  }
  return "nothing";
}

}  // namespace

TEST_CASE("a failed allocation is one message with its size") {
  // 2^60 bytes, more than any machine's address space.
  const std::string message = thrown([] { at::empty({std::int64_t{1} << 58}, at::kFloat); });
  CHECK(message == "out of memory: another 1073741824 GiB could not be had");
  CHECK(thrown([] { throw std::bad_alloc(); }) == "out of memory");
}

TEST_CASE("LibTorch's errors are printed without a stack trace") {
  const std::string message = thrown([] { at::ones({2, 3}).matmul(at::ones({2, 3})); });
  CHECK(message.find("mat1 and mat2") != std::string::npos);
  CHECK(message.find("frame #") == std::string::npos);
  hide_stack_traces();
  try {
    at::ones({2, 3}).matmul(at::ones({2, 3}));
  } catch (const std::exception& error) {
    CHECK(std::string(error.what()).find("frame #") == std::string::npos);
  }
}

TEST_CASE("an experiment that runs out of memory names keys that reduce it") {
  Experiment options;
  options.train.batch_size = 512;
  options.data.cache = CacheMode::always;
  const std::string message = thrown([&] { with_memory_advice(options, []() -> int { throw std::bad_alloc(); }); });
  CHECK(message.find("train.batch_size (512)") != std::string::npos);
  CHECK(message.find("train.accumulate (1") != std::string::npos);
  CHECK(message.find("data.image_size (32)") != std::string::npos);
  CHECK(message.find("data.cache") != std::string::npos);
  CHECK(thrown([&] { with_memory_advice(options, []() -> int { throw Error("other"); }); }) == "other");
  CHECK(with_memory_advice(options, [] { return 5; }) == 5);
}

TEST_CASE("when a GPU runs out of memory, the message says what it has and which keys reduce it") {
  const std::string of_libtorch =
      "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is "
      "free. Including non-PyTorch memory, this process has 77.00 GiB memory in use.";
  const std::string message = thrown([&] {
    with_memory_advice(Experiment(), [&]() -> int { throw c10::OutOfMemoryError({"", "", 0}, of_libtorch); });
  });
  CHECK(
      message.starts_with("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
                          "which 1.20 GiB is free. To need less, use a smaller"));
  CHECK(message.find("run.precision = \"bf16\" (\"fp32\")") != std::string::npos);
}

TEST_CASE("LibTorch's messages about a GPU are turned into advice") {
  const c10::Error refused(
      {"", "", 0},
      "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set "
      "'torch.use_deterministic_algorithms(True)'.");
  CHECK(exception_message(refused) ==
        "adaptive_avg_pool2d_backward_cuda is not deterministic; run.deterministic = false allows it");
  const c10::AcceleratorError late({"", "", 0}, 710,
                                   "CUDA error: device-side assert triggered\nCUDA kernel errors might");
  CHECK(
      exception_message(late) ==
      "CUDA error: device-side assert triggered, noticed here but perhaps caused earlier; with CUDA_LAUNCH_BLOCKING=1 "
      "in "
      "the environment it is noticed where it is caused");
}
