#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "casdm/dataset.h"

/// Makes the files that the data set tests read.
namespace casdm::testing {

using Bytes = std::vector<std::uint8_t>;
using NamedBytes = std::vector<std::pair<std::string, Bytes>>;

/// An RGB image with a smooth pattern that depends on `seed`.
Image pattern(std::int64_t width, std::int64_t height, int seed);

/// An image of one colour.
Image plain(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> colour);

/// A PNG of any depth (8, 16) and colour type (libpng's number); `samples` as the file holds them.
Bytes png_of(std::int64_t width, std::int64_t height, int depth, int colour_type, Bytes samples);
Bytes png_of(const Image& image);
Bytes jpeg_of(const Image& rgb);
Bytes cmyk_jpeg_of(std::int64_t width, std::int64_t height, const Bytes& cmyk);

Bytes bytes_of(std::string_view text);
void write_bytes(const std::filesystem::path& path, const Bytes& bytes);
Bytes read_bytes(const std::filesystem::path& path);

void write_zip(const std::filesystem::path& path, const NamedBytes& members);

/// A ustar archive; long names as GNU tar writes them.
Bytes tar_of(const NamedBytes& members);
Bytes gzip_of(const Bytes& bytes);

/// What `call` throws of type E; empty when it throws nothing.
template <class E, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return {};
}

}  // namespace casdm::testing
