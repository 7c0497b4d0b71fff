#include <ATen/ATen.h>
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <future>
#include <optional>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/distributed/nccl_group.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;
using namespace std::chrono_literals;

namespace {

constexpr const char* kFake = CASDM_FAKE_NCCL;
const c10::Device kHost(c10::kCPU);

/// Of a device on which everything is done at once, or never.
const DeviceStreams kQuick = {[](int) -> void* { return nullptr; }, [](int) { return true; }};
const DeviceStreams kStuck = {[](int) -> void* { return nullptr; }, [](int) { return false; }};

const Nccl& fake() {
  static const Nccl nccl({kFake});
  return nccl;
}

template <class Function>
Function* function(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(::dlopen(kFake, RTLD_NOW), name));
}

NcclGroup::Waiting within(std::chrono::milliseconds patience) {
  return {patience, [] {}};
}

/// Calls `work(group, rank)` for each rank in a thread of its own.
template <class Work>
void in_group(int size, Work work) {
  c10d::HashStore store;
  std::vector<std::future<void>> threads(static_cast<std::size_t>(size));
  for (int rank = 0; rank < size; ++rank) {
    threads[static_cast<std::size_t>(rank)] = std::async(std::launch::async, [&, rank] {
      const NcclGroup group(fake(), store, rank, size, kHost, kQuick, within(10s));
      work(group, rank);
    });
  }
  for (auto& thread : threads) thread.get();
}

/// Exchanges something and waits for it.
void exchanged(const NcclGroup& group) {
  group.sum(at::zeros({2}));
  group.finish();
}

}  // namespace

TEST_CASE("processes add tensors, and exchange ranges of unequal lengths, by NCCL's functions") {
  std::vector<at::Tensor> sums(3), weights(3);
  in_group(3, [&](const NcclGroup& group, int rank) {
    at::Tensor& sum = sums[static_cast<std::size_t>(rank)] = at::arange(5, at::kFloat) * (rank + 1);
    group.sum(sum);
    at::Tensor& flat = weights[static_cast<std::size_t>(rank)] = at::full({7}, rank, at::kFloat);
    group.exchange(flat, {{0, 4}, {4, 0}, {4, 3}});
    group.finish();
  });
  for (std::size_t rank = 0; rank < 3; ++rank) {
    CHECK(at::equal(sums[rank], at::arange(5, at::kFloat) * 6));
    CHECK(at::equal(weights[rank], at::tensor({0, 0, 0, 0, 2, 2, 2}, at::kFloat)));
  }
  CHECK(function<int()>("fake_nccl_groups")() == 0);
}

TEST_CASE("a missing NCCL, or one that lacks a function, is reported") {
  CHECK(fake().version() == "2.28.9");
  const std::string missing = message_of([] { const Nccl none({"libno-nccl.so.1", "libno-nccl.so.2"}); });
  CHECK_MESSAGE(missing.starts_with("NCCL cannot be loaded: libno-nccl.so.1: "), missing);
  CHECK_MESSAGE(missing.find("; libno-nccl.so.2: ") != std::string::npos, missing);
  CHECK(message_of([] { const Nccl none({"libm.so.6"}); }) == "this NCCL has no function ncclGetVersion");
}

TEST_CASE("an exchange that fails, does not end, or for which nobody waits any longer, is reported") {
  c10d::HashStore store;
  SUBCASE("it fails") {
    function<void(int)>("fake_nccl_fail")(2);
    const std::string message = message_of([&] {
      const NcclGroup group(fake(), store, 0, 1, kHost, kQuick, within(10s));
      exchanged(group);
    });
    function<void(int)>("fake_nccl_fail")(0);
    CHECK(message == "NCCL, an exchange has failed: unhandled system error: the cable is out");
  }
  SUBCASE("it does not end") {
    const NcclGroup group(fake(), store, 0, 1, kHost, kStuck, within(300ms));
    CHECK_FALSE(group.comes_to_rest(10ms));
    CHECK(message_of([&] { exchanged(group); }) == "NCCL: an exchange has not ended in time");
  }
  SUBCASE("another process is gone") {
    const NcclGroup group(fake(), store, 0, 1, kHost, kStuck, {10s, [] { throw Error("rank 1 is gone"); }});
    CHECK(message_of([&] { exchanged(group); }) == "rank 1 is gone");
  }
  CHECK(function<int()>("fake_nccl_groups")() == 0);
}

TEST_CASE("a process that does not connect is not waited for without a limit") {
  static c10d::HashStore store;  // used by a thread that is left behind
  const std::string message =
      message_of([] { const NcclGroup group(fake(), store, 0, 2, kHost, kQuick, within(300ms)); });
  CHECK(message == "NCCL: the connection has not ended in time");
}

TEST_CASE("why the processes do not use NCCL is said in words") { CHECK(why_no_nccl(kHost) == "it is the CPU"); }
