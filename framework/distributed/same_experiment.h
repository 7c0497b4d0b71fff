#pragma once

#include <c10/core/Device.h>

#include <string>

#include "casdm/value.h"
#include "framework/data/fingerprint.h"
#include "framework/distributed/world.h"

namespace casdm {

/// Throws WorldConfigError if the resolved experiment, including its plugins, or the version of casdm or LibTorch is
/// not the same in all processes; it names those that differ from the majority, and says how.
void require_same(World& world, const Value& experiment);

/// The same for the data and the metrics' networks that each process has found.
/// @param networks  see fixed_networks
void require_same(World& world, const DataFingerprint& data, const Value& networks);

/// Throws WorldConfigError if two processes of one machine compute on the same device, unless it is the CPU.
/// @param identity  see device_identity
void require_own_device(World& world, c10::Device device, const std::string& identity);
void require_own_device(World& world, c10::Device device);

}  // namespace casdm
