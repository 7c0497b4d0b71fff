#pragma once

#include <c10/core/Device.h>

#include "casdm/value.h"
#include "framework/data/fingerprint.h"
#include "framework/distributed/world.h"

namespace casdm {

/// Throws WorldConfigError that names the processes whose resolved experiment, plugins among it, data, networks of
/// metrics, or version of casdm or LibTorch are not those of the most, and says how they differ.
/// @param networks  see fixed_networks
void require_same(World& world, const Value& experiment, const DataFingerprint& data, const Value& networks);

/// Throws WorldConfigError when two processes of one machine compute on the same device, the CPU apart.
void require_own_device(World& world, c10::Device device);

}  // namespace casdm
