#include "casdm/random.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/detail/AcceleratorHooksInterface.h>

#include <numeric>
#include <utility>

namespace casdm {

__extension__ using Wide = unsigned __int128;

std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose, std::uint64_t index) {
  std::uint64_t name = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const char character : purpose) name = (name ^ static_cast<unsigned char>(character)) * 0x100000001B3ULL;
  return splitmix64(splitmix64(splitmix64(seed) ^ name) ^ index);
}

at::Generator make_generator(std::uint64_t seed, c10::Device device) {
  if (device.is_cpu()) return at::make_generator<at::CPUGeneratorImpl>(seed);
  at::Generator generator =
      at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
  generator.set_current_seed(seed);
  return generator;
}

std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::int64_t i = size - 1; i > 0; --i) {
    // Multiply-shift maps 64 random bits to 0..i; the bias is below 2^-32 for any realistic data set.
    const auto draw = static_cast<Wide>(splitmix64(seed + static_cast<std::uint64_t>(i)));
    std::swap(order[i], order[static_cast<std::size_t>((draw * static_cast<std::uint64_t>(i + 1)) >> 64)]);
  }
  return order;
}

double uniform(std::uint64_t seed) { return static_cast<double>(splitmix64(seed) >> 11) * 0x1.0p-53; }

}  // namespace casdm
