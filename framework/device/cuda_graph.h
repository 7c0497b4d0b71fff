#pragma once

#include "framework/device/device_graph.h"

namespace casdm {

/// A GraphRecorder for CUDA.
std::unique_ptr<DeviceGraph> record_on_cuda(const std::function<void()>& work);

}  // namespace casdm
