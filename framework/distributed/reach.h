#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace casdm {

/// Waits until somebody listens at the port of a machine.
/// @param is_cancelled  called now and then
/// Throws Error with what was tried, for how long and with what result.
void wait_for_listener(const std::string& host, std::uint16_t port, double seconds,
                       const std::function<bool()>& is_cancelled);

/// The address of this machine from which packets to `host` leave, so the address where `host` can reach it. Empty if
/// unknown.
std::string own_address_towards(const std::string& host, std::uint16_t port);

}  // namespace casdm
