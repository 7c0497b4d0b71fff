#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace casdm {

/// Which image is at a position of the endless stream: image permutation[p mod N] of epoch p / N, each epoch in its own
/// random order. A function of (size, seed, position) alone. Thread-safe.
class ImageOrder {
 public:
  /// @param size  of the data set, at least 1
  ImageOrder(std::int64_t size, std::uint64_t seed) : size_(size), seed_(seed) {}

  /// @param position  at least 0
  /// Throws Error if there is no memory for the order of an epoch.
  std::int64_t index_at(std::int64_t position);

 private:
  using Permutation = std::shared_ptr<const std::vector<std::int64_t>>;

  Permutation epoch(std::int64_t number);
  Permutation shuffled(std::int64_t epoch) const;

  static constexpr std::size_t kKept = 3;
  std::int64_t size_;
  std::uint64_t seed_;
  std::mutex mutex_;
  std::map<std::int64_t, Permutation> epochs_;
};

}  // namespace casdm
