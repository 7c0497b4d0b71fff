#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <new>

#include "framework/composition/memory_advice.h"
#include "framework/support/exception_message.h"
#include "framework/support/memory.h"
#include "framework/support/memory_guard.h"
#include "support/components.h"

using namespace casdm;
using casdm::testing::TemporaryFolder;
namespace fs = std::filesystem;

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

TEST_CASE("free memory is what the machine and each control group above the process leave") {
  const TemporaryFolder folder;
  const auto put = [&](const std::string& file, const std::string& content) {
    fs::create_directories((folder.path() / file).parent_path());
    std::ofstream(folder.path() / file) << content;
  };
  const auto free = [&] { return free_memory(folder.path()); };
  CHECK(free() == std::numeric_limits<std::uint64_t>::max());  // nothing is known
  put("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable:    3000 kB\nSwapFree: 500 kB\n");
  CHECK(free() == 3500 * 1024);
  // Version 2.
  put("proc/self/cgroup", "0::/job/step\n");
  put("sys/fs/cgroup/job/step/memory.max", "max\n");
  put("sys/fs/cgroup/job/step/memory.current", "1000\n");
  put("sys/fs/cgroup/job/memory.max", "900000\n");
  put("sys/fs/cgroup/job/memory.current", "400000\n");
  CHECK(free() == 500000);
  put("sys/fs/cgroup/job/memory.stat", "anon 1\nactive_file 20000\ninactive_file 30000\nslab 7\n");
  CHECK(free() == 550000);  // the files that it has read can be dropped
  put("sys/fs/cgroup/memory.max", "300000\n");
  put("sys/fs/cgroup/memory.current", "310000\n");
  CHECK(free() == 0);
  // Version 1, whose root is not the process's own group in a container.
  put("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/elsewhere\n0::/\n");
  fs::remove(folder.path() / "sys/fs/cgroup/memory.max");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "80000\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "60000\n");
  put("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 5000\ninactive_file 1\n");
  CHECK(free() == 25000);
  put("sys/fs/cgroup/memory/elsewhere/memory.limit_in_bytes", "9000\n");
  put("sys/fs/cgroup/memory/elsewhere/memory.usage_in_bytes", "1000\n");
  CHECK(free() == 8000);
}

TEST_CASE("a tensor for which there is no room is refused before it is made, and others are not") {
  refuse_what_memory_lacks();
  const auto bytes = static_cast<std::int64_t>(free_memory()) + (std::int64_t{1} << 30);
  const std::string message = thrown([&] { at::empty({bytes}, at::kByte); });
  CHECK_MESSAGE(message.starts_with("out of memory: another "), message);
  CHECK_MESSAGE(message.find(" could not be had; ") != std::string::npos, message);
  const Tensor large = at::ones({1 << 26}, at::kByte);
  CHECK(large.sum().item<std::int64_t>() == 1 << 26);
  CHECK(at::ones({3}).sum().item<double>() == 3);
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

TEST_CASE("a batch whose images alone need more memory than is free is refused at once, with the keys that reduce it") {
  Experiment options;
  options.data.image_size = 256;
  const auto least = [](std::int64_t images) { return images * 3 * 256 * 256 * (2 + 3 * 4); };
  const auto most = static_cast<std::int64_t>(free_memory());
  const std::int64_t too_many = 2 * most / least(1);
  const std::string message = thrown([&] {
    with_memory_advice(options, [&] { return require_memory_for_batch(options, too_many, c10::Device(c10::kCPU)), 0; });
  });
  CHECK_MESSAGE(message.starts_with("out of memory: the images of a batch need at least "), message);
  CHECK_MESSAGE(message.find("train.batch_size") != std::string::npos, message);
  CHECK_NOTHROW(require_memory_for_batch(options, most / 2 / least(1), c10::Device(c10::kCPU)));
  CHECK_NOTHROW(require_memory_for_batch(options, too_many / 4, c10::Device(c10::kCUDA)));
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
