#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace casdm {

/// Waits until somebody listens at the port of a machine.
/// @param is_cancelled  asked now and then
/// Throws Error with what was tried, how long and what came of it.
void wait_for_listener(const std::string& host, std::uint16_t port, double seconds,
                       const std::function<bool()>& is_cancelled);

/// The address of this machine that packets to `host` leave from: the one that is reached from there. Empty when it
/// cannot be said.
std::string own_address_towards(const std::string& host, std::uint16_t port);

}  // namespace casdm
