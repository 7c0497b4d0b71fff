#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace casdm {

/// Work of a GPU that was recorded once and is replayed, on the same memory, by one call of the host.
class DeviceGraph {
 public:
  DeviceGraph() = default;
  virtual ~DeviceGraph() = default;
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;

  /// Queues the work; what is queued later sees its results.
  virtual void replay() = 0;
};

/// Records what `work` queues; none of it is computed. The memory that `work` allocates belongs to the graph and keeps
/// its addresses. Throws what `work` throws, and an error of LibTorch if it waits for the device.
using GraphRecorder = std::unique_ptr<DeviceGraph> (*)(const std::function<void()>& work);

/// The same on `device`, which select_device has chosen and which is not the CPU.
std::unique_ptr<DeviceGraph> record_graph(c10::Device device, const std::function<void()>& work);

}  // namespace casdm
