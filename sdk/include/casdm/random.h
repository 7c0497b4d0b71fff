#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "casdm/api.h"

/// Randomness as pure functions. Nothing in a run draws from a global or long-lived generator:
/// each purpose ("t", "noise", "dropout/phi", ...) of each image has its own seed, by the image's position in the
/// run. So a resumed run repeats the uninterrupted one, two experiments with one seed share their noise, and neither
/// depends on how many images a batch has. `casdm/philox.h` draws whole images.
namespace casdm CASDM_API {

/// One round of splitmix64 (Steele et al. 2014): a good 64-bit hash of a counter.
std::uint64_t splitmix64(std::uint64_t x);

/// A seed that depends on all three and, for practical purposes, on nothing else.
std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose, std::uint64_t index = 0);

/// A fresh generator on `device`, seeded; draws on one device type repeat exactly.
at::Generator make_generator(std::uint64_t seed, c10::Device device = c10::Device(c10::kCPU));

/// A uniformly random order of 0..size-1 (Fisher-Yates), the same on every platform.
std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t seed);

/// A number in [0, 1) with 53 random bits, the same on every platform.
double uniform(std::uint64_t seed);

}  // namespace casdm
