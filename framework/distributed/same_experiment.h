#pragma once

#include <c10/core/Device.h>

#include "casdm/value.h"
#include "framework/data/fingerprint.h"
#include "framework/distributed/world.h"

namespace casdm {

/// Throws WorldConfigError that names the processes whose resolved experiment, plugins among it, or version of casdm or
/// LibTorch are not those of the most, and says how they differ.
void require_same(World& world, const Value& experiment);

/// The same for the data and the networks of metrics that each process has found.
/// @param networks  see fixed_networks
void require_same(World& world, const DataFingerprint& data, const Value& networks);

/// Throws WorldConfigError when two processes of one machine compute on the same device, the CPU apart.
void require_own_device(World& world, c10::Device device);

}  // namespace casdm
