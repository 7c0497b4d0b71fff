#pragma once

#include <cstdint>
#include <deque>
#include <istream>
#include <map>
#include <string>

#include "sdk/arrays/pickle_values.h"

/// Reads the pickles that `torch.save` writes, and pickled NumPy arrays, without executing anything.
///
/// A pickle is a program: it may name any Python function and call it. This reader knows only the few names that
/// tensors and plain containers need, and refuses any other name before it can have an effect.
namespace casdm {

/// The bytes of a stream, counted, so that nothing is allocated or read beyond them.
class PickleSource {
 public:
  /// @param size     bytes remaining in the stream
  /// @param longest  length limit for strings, in bytes
  PickleSource(std::istream& stream, std::uint64_t size, std::uint64_t longest = std::uint64_t{1} << 24)
      : stream_(stream), left_(size), longest_(longest) {}

  /// Throws Error if there are fewer left.
  std::string bytes(std::uint64_t count);
  std::uint8_t byte();
  /// A little-endian unsigned integer of `count` <= 8 bytes.
  std::uint64_t integer(int count);
  /// Reads up to a newline, which is consumed.
  std::string line();

  std::uint64_t left() const { return left_; }

 private:
  std::istream& stream_;
  std::uint64_t left_;
  std::uint64_t longest_;
};

/// The names that a pickle may contain: those for tensors or for NumPy arrays; plain containers are always allowed.
enum class PickleNames { torch, numpy };

/// A value and everything it refers to.
class Pickle {
 public:
  /// Reads one pickle, protocol 2 to 5; the source is left just after it. Throws Error (without the file's name) if it
  /// is truncated, damaged or too large, or if it names anything outside `names`.
  explicit Pickle(PickleSource& source, PickleNames names = PickleNames::torch);

  const PickledNode& root() const { return *root_; }

  /// Every storage that is referenced, by key. Two tensors may share one.
  const std::map<std::string, PickledStorage>& storages() const { return storages_; }

 private:
  friend class PickleMachine;
  std::deque<PickledNode> nodes_;
  std::map<std::string, PickledStorage> storages_;
  PickledNode* root_ = nullptr;
};

}  // namespace casdm
