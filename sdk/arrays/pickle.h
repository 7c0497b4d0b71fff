#pragma once

#include <cstdint>
#include <deque>
#include <istream>
#include <map>
#include <string>

#include "sdk/arrays/pickle_values.h"

/// A reader of the pickles that `torch.save` writes, and of pickled NumPy arrays, which executes nothing.
///
/// A pickle is a program: it may name any function of Python and call it. This reader knows the few names that
/// tensors and plain containers need and refuses every other one, by name, before it could have an effect.
namespace casdm {

/// Bytes of a stream, counted, so that nothing is allocated or read beyond them.
class PickleSource {
 public:
  /// @param size     bytes that the stream still holds
  /// @param longest  bytes of the longest string that is read
  PickleSource(std::istream& stream, std::uint64_t size, std::uint64_t longest = std::uint64_t{1} << 24)
      : stream_(stream), left_(size), longest_(longest) {}

  /// Throws Error when fewer are left.
  std::string bytes(std::uint64_t count);
  std::uint8_t byte();
  /// A little-endian unsigned integer of `count` <= 8 bytes.
  std::uint64_t integer(int count);
  /// Up to a newline, which is taken too.
  std::string line();

  std::uint64_t left() const { return left_; }

 private:
  std::istream& stream_;
  std::uint64_t left_;
  std::uint64_t longest_;
};

/// What a pickle may name: what tensors need, or what NumPy's arrays need; plain containers always.
enum class PickleNames { torch, numpy };

/// A value and all that it refers to.
class Pickle {
 public:
  /// Reads one pickle, protocol 2 to 5, leaving the source behind its end.
  /// Throws Error (without the file's name) when it is truncated, damaged, too large, or names anything but `names`.
  explicit Pickle(PickleSource& source, PickleNames names = PickleNames::torch);

  const PickledNode& root() const { return *root_; }

  /// Every storage that is referred to, by key. Two tensors may share one.
  const std::map<std::string, PickledStorage>& storages() const { return storages_; }

 private:
  friend class PickleMachine;
  std::deque<PickledNode> nodes_;
  std::map<std::string, PickledStorage> storages_;
  PickledNode* root_ = nullptr;
};

}  // namespace casdm
