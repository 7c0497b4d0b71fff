#include "framework/distributed/nccl_group.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <memory>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr const char* kId = "nccl";
constexpr auto kLookEvery = 200ms;

Nccl::Id agreed_id(const Nccl& nccl, c10d::Store& store, int rank) {
  Nccl::Id id{};
  if (rank == 0) {
    id = nccl.new_id();
    store.set(kId, std::vector<std::uint8_t>(id.bytes.begin(), id.bytes.end()));
    return id;
  }
  const std::vector<std::uint8_t> bytes = store.get(kId);
  if (bytes.size() != id.bytes.size()) throw Error("the other processes use another NCCL");
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

float* elements_of(const at::Tensor& tensor) { return static_cast<float*>(tensor.mutable_data_ptr()); }

}  // namespace

NcclGroup::NcclGroup(const Nccl& nccl, c10d::Store& store, int rank, int size, c10::Device device,
                     DeviceStreams streams, Waiting waiting)
    : nccl_(nccl), device_(device), streams_(streams), waiting_(std::move(waiting)) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  // Its kernels are few, and the other processes wait for them.
  if (!device.is_cpu()) aside_ = guard.getStreamFromGlobalPool(device, /*isHighPriority=*/true);
  const Nccl::Id id = agreed_id(nccl, store, rank);
  // NCCL waits for the other processes without a limit, so a thread does that, which may have to be left behind.
  const auto connected = std::make_shared<std::promise<Nccl::Group>>();
  std::future<Nccl::Group> group = connected->get_future();
  std::thread([connected, &nccl, id, rank, size, device] {
    try {
      c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
      connected->set_value(nccl.connect(id, rank, size));
    } catch (...) {
      connected->set_exception(std::current_exception());
    }
  }).detach();
  wait_for([&] { return group.wait_for(0s) == std::future_status::ready; }, "the connection");
  try {
    group_ = group.get();
  } catch (const Error& error) {
    throw Error(text(error.what(), "; with CASDM_NCCL=0 in the environment the processes do without NCCL"));
  }
}

NcclGroup::~NcclGroup() { nccl_.abort(group_); }

void NcclGroup::wait_for(const std::function<bool()>& is_done, const char* what) const {
  const auto begin = Clock::now();
  auto next_look = begin + kLookEvery;
  while (!is_done()) {
    const auto now = Clock::now();
    if (now - begin > waiting_.patience) throw Error(text("NCCL: ", what, " has not ended in time"));
    if (now < next_look) {
      std::this_thread::sleep_for(20us);
      continue;
    }
    next_look = now + kLookEvery;
    if (group_ != nullptr) nccl_.check(group_);
    waiting_.look();
  }
}

/// Asks again and again, since whoever waits on the stream cannot notice that another process is gone.
void NcclGroup::finish(const std::function<bool()>& is_done) const {
  wait_for(
      is_done ? is_done : [&] { return streams_.is_idle(device_.index()); }, "an exchange");
  nccl_.check(group_);
}

bool NcclGroup::comes_to_rest(std::chrono::milliseconds limit) const {
  try {
    for (const auto end = Clock::now() + limit; !streams_.is_idle(device_.index());) {
      if (Clock::now() > end) return false;
      std::this_thread::sleep_for(1ms);
    }
    nccl_.check(group_);
    return true;
  } catch (const std::exception&) {  // of the device, or of NCCL
    return false;
  }
}

void NcclGroup::sum(const at::Tensor& tensor) const {
  nccl_.sum(group_, elements_of(tensor), static_cast<std::size_t>(tensor.numel()), streams_.current(device_.index()));
}

/// After what is queued on the current stream, but on another one.
void NcclGroup::begin_sum(const at::Tensor& tensor) const {
  if (!aside_) return sum(tensor);
  c10::Event is_computed(device_.type());
  is_computed.record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  is_computed.block(*aside_);
  const c10::StreamGuard guard(*aside_);
  sum(tensor);
}

void NcclGroup::end_sums() const {
  if (!aside_) return;
  c10::Event are_done(device_.type());
  are_done.record(*aside_);
  are_done.block(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
}

void NcclGroup::exchange(const at::Tensor& flat, const std::vector<FlatRange>& ranges) const {
  void* const stream = streams_.current(device_.index());
  nccl_.begin();
  for (std::size_t rank = 0; rank < ranges.size(); ++rank) {
    const auto [offset, length] = ranges[rank];
    if (length == 0) continue;
    nccl_.broadcast(group_, elements_of(flat) + offset, static_cast<std::size_t>(length), static_cast<int>(rank),
                    stream);
  }
  nccl_.end();
}

const Nccl& loaded_nccl() {
  static const Nccl nccl({"libnccl.so.2"});
  return nccl;
}

std::string why_no_nccl(c10::Device device) {
  if (device.is_cpu()) return "it is the CPU";
  const char* const asked = std::getenv("CASDM_NCCL");
  if (asked != nullptr && std::string(asked) == "0") return "CASDM_NCCL is 0";
  if (device_streams(device).current == nullptr) return "it is not a device of NCCL";
  try {
    loaded_nccl();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace casdm
