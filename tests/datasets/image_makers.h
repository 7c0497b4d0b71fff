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

/// A PNG of any depth and colour type (libpng's number); `samples` as the file holds them.
Bytes png_of(std::int64_t width, std::int64_t height, int depth, int colour_type, Bytes samples,
             bool is_interlaced = false);
Bytes png_of(const Image& image, bool is_interlaced = false);

/// `png` with another chunk behind its header.
Bytes with_chunk(const Bytes& png, std::string_view name, const Bytes& content);

/// `png` with a header that claims these sides, and the right checksum.
Bytes with_sides(Bytes png, std::uint32_t width, std::uint32_t height);

enum class JpegScans { one, progressive, one_per_channel };

/// Of quality 95, without subsampling.
/// @param exif  goes in front of the image; empty: none
Bytes jpeg_of(const Image& rgb, JpegScans scans = JpegScans::one, const Bytes& exif = {});
Bytes cmyk_jpeg_of(std::int64_t width, std::int64_t height, const Bytes& cmyk);

/// An EXIF block that holds an orientation, as a JPEG holds it.
Bytes exif_of(int orientation);

/// The most memory that this process has had, in MiB.
long peak_memory();

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
