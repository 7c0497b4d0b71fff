#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <new>

#include "framework/composition/memory_advice.h"
#include "framework/support/exception_message.h"

using namespace casdm;

namespace {

/// What `work` throws, as the program prints it.
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

TEST_CASE("memory that cannot be had is one message with its size") {
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

TEST_CASE("an experiment that runs out of memory names what needs less") {
  Experiment options;
  options.train.batch_size = 512;
  options.data.cache = "always";
  const std::string message = thrown([&] { with_memory_advice(options, []() -> int { throw std::bad_alloc(); }); });
  CHECK(message.find("train.batch_size (512)") != std::string::npos);
  CHECK(message.find("train.accumulate (1") != std::string::npos);
  CHECK(message.find("data.image_size (32)") != std::string::npos);
  CHECK(message.find("data.cache") != std::string::npos);
  CHECK(thrown([&] { with_memory_advice(options, []() -> int { throw Error("other"); }); }) == "other");
  CHECK(with_memory_advice(options, [] { return 5; }) == 5);
}
