#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>
#include <mutex>
#include <set>

#include "framework/standin/counts.h"
#include "framework/standin/generator.h"
#include "framework/standin/late_copies.h"
#include "framework/standin/memory.h"

namespace casdm::standin {

namespace {

/// Streams of which nothing is ever done. Never destroyed, like the device's memory.
struct Hanging {
  std::mutex mutex;
  std::set<c10::StreamId> streams;

  bool has(const c10::Stream& stream) {
    const std::lock_guard lock(mutex);
    return streams.contains(stream.id());
  }
  void add(const c10::Stream& stream) {
    const std::lock_guard lock(mutex);
    streams.insert(stream.id());
  }
};

Hanging& hanging() {
  static auto& only = *new Hanging;
  return only;
}

bool is_never_reached(const QueuePlace& place) { return place.launches == QueuePlace().launches; }

/// One device with a few streams; all work on them is complete when a call returns.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device device) const override {
    setDevice(device);
    return kStandIn;
  }
  c10::Device getDevice() const override { return kStandIn; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.is_cuda() && device.index() <= 0, "CUDA error: invalid device ordinal: ", device);
  }
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }

  c10::Stream getStream(c10::Device) const override { return stream_; }
  c10::Stream getDefaultStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, kStandIn); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return new_stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return new_stream(); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return std::exchange(stream_, stream); }
  bool queryStream(const c10::Stream&) const override { return true; }

  void record(void** event, const c10::Stream& stream, c10::DeviceIndex, c10::EventFlag) const override {
    if (*event == nullptr) *event = new QueuePlace;
    *static_cast<QueuePlace*>(*event) = hanging().has(stream) ? QueuePlace() : end_of_queue();
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override { delete static_cast<QueuePlace*>(event); }
  void block(void* event, const c10::Stream& stream) const override {
    const auto& place = *static_cast<const QueuePlace*>(event);
    is_never_reached(place) ? hanging().add(stream) : make_copies(place.copies);
  }
  bool queryEvent(void* event) const override { return !is_never_reached(*static_cast<const QueuePlace*>(event)); }

  void synchronizeStream(const c10::Stream&) const override { count_wait("a stream"); }
  void synchronizeEvent(void* event) const override { count_wait("an event", 0, *static_cast<QueuePlace*>(event)); }
  void synchronizeDevice(c10::DeviceIndex) const override { count_wait("the device"); }

 private:
  static c10::Stream new_stream() {
    static std::atomic<c10::StreamId> next = 1;
    return c10::Stream(c10::Stream::UNSAFE, kStandIn, next++);
  }
  static inline thread_local c10::Stream stream_{c10::Stream::DEFAULT, kStandIn};
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

}  // namespace

void hang() { hanging().add(Guard().getStream(kStandIn)); }

bool is_hanging() { return hanging().has(Guard().getStream(kStandIn)); }

DeviceGenerator::DeviceGenerator(at::Generator on_cpu)
    : GeneratorImpl(kStandIn, c10::DispatchKeySet(c10::DispatchKey::CUDA)), on_cpu_(std::move(on_cpu)) {}

}  // namespace casdm::standin

/// LibTorch looks for the hooks under this name.
class CUDAHooks final : public at::CUDAHooksInterface {
 public:
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  at::DeviceIndex getCurrentDevice() const override { return 0; }
  at::DeviceIndex current_device() const override { return 0; }
  void setCurrentDevice(at::DeviceIndex) const override {}
  at::DeviceIndex exchangeDevice(at::DeviceIndex) const override { return 0; }
  at::DeviceIndex maybeExchangeDevice(at::DeviceIndex) const override { return 0; }
  void deviceSynchronize(at::DeviceIndex) const override { casdm::standin::count_wait("the device"); }

  at::Generator getNewGenerator(at::DeviceIndex) const override {
    return at::make_generator<casdm::standin::DeviceGenerator>(at::detail::createCPUGenerator());
  }
  const at::Generator& getDefaultGenerator(at::DeviceIndex) const override {
    static const at::Generator generator = getNewGenerator(0);
    return generator;
  }
  at::Allocator* getPinnedMemoryAllocator() const override { return casdm::standin::pinned_allocator(); }
  at::Allocator* getCUDADeviceAllocator() const override { return casdm::standin::device_allocator(); }
  bool isPinnedPtr(const void* data) const override { return casdm::standin::is_pinned(data); }
};

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks)
}
