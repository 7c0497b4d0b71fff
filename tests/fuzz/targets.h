#pragma once

#include <cstdint>
#include <span>
#include <string_view>

/// What the program reads that may come from anywhere, each behind one function of bytes.
namespace casdm::fuzz {

using Bytes = std::span<const std::uint8_t>;

struct Target {
  std::string_view name;

  /// Reads the bytes as the program would, and as far as it would. Throws casdm::Error where the program refuses them;
  /// ends the process where a reader contradicts itself. Anything else is a fault of the reader.
  void (*read)(Bytes bytes);
};

std::span<const Target> targets();

/// Whether the reader took the bytes; false: it refused them.
bool is_taken(const Target& target, Bytes bytes);

}  // namespace casdm::fuzz
