#include "framework/support/tensor_file_header.h"

#include <cstdint>
#include <fstream>

#include "casdm/error.h"
#include "casdm/value.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kLargestHeader = 16 << 20;

/// The JSON header of a safetensors file; empty if there is none, or if it is larger than any we write.
std::string header_of(const fs::path& path) {
  std::error_code failure;
  if (!fs::is_regular_file(path, failure)) return "";  // reading a pipe would block
  std::ifstream file(path, std::ios::binary);
  std::uint64_t size = 0;
  if (!file.read(reinterpret_cast<char*>(&size), sizeof(size))) return "";
  if (size > kLargestHeader || size > fs::file_size(path, failure)) return "";
  std::string header(size, ' ');
  return file.read(header.data(), static_cast<std::streamsize>(size)) ? header : "";
}

}  // namespace

std::map<std::string, std::string> metadata_of_file(const fs::path& file) {
  try {
    const Value header = from_json(header_of(file));
    const Value* metadata = header.find("__metadata__");
    std::map<std::string, std::string> result;
    if (metadata == nullptr || !metadata->is_table()) return result;
    for (const auto& [key, value] : metadata->as_table()) {
      if (value.is_string()) result[key] = value.as_string();
    }
    return result;
  } catch (const Error&) {  // not a file of weights
    return {};
  }
}

}  // namespace casdm
