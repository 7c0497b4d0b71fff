#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "casdm/dataset.h"
#include "support/messages.h"

/// Makes the files that the data set tests read.
namespace casdm::testing {

using Bytes = std::vector<std::uint8_t>;
using NamedBytes = std::vector<std::pair<std::string, Bytes>>;

/// Throws std::runtime_error unless a library has done what it was asked for.
void require(bool good, const char* what);

/// An RGB image with a smooth pattern that depends on `seed`.
Image pattern(std::int64_t width, std::int64_t height, int seed);

Image plain(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> colour);

/// A PNG of any depth and colour type (libpng's number); `samples` as stored in the file.
Bytes png_of(std::int64_t width, std::int64_t height, int depth, int colour_type, Bytes samples,
             bool is_interlaced = false);
Bytes png_of(const Image& image, bool is_interlaced = false);

/// `png` with an additional chunk after its header, or at its end.
Bytes with_chunk(const Bytes& png, std::string_view name, const Bytes& content, bool is_at_end = false);

/// `png` with a header that claims this size, and the right checksum.
Bytes with_sides(Bytes png, std::uint32_t width, std::uint32_t height);

enum class JpegScans { one, progressive, one_per_channel };

/// Quality 95, without subsampling.
/// @param exif  inserted before the image; empty: none
Bytes jpeg_of(const Image& rgb, JpegScans scans = JpegScans::one, const Bytes& exif = {});
Bytes cmyk_jpeg_of(std::int64_t width, std::int64_t height, const Bytes& cmyk);

/// A lossless WebP of RGB, or of RGBA.
Bytes webp_of(const Image& rgb, const Bytes& exif = {});
Bytes webp_of(std::int64_t width, std::int64_t height, const Bytes& rgba);
Bytes lossy_webp_of(const Image& rgb);
Bytes animated_webp_of(const std::vector<Image>& frames);

/// An EXIF block with an orientation, as in a JPEG.
Bytes exif_of(int orientation);

/// The maximum memory that this process has used, in MiB.
long peak_memory();

Bytes bytes_of(std::string_view text);
void write_bytes(const std::filesystem::path& path, const Bytes& bytes);
Bytes read_bytes(const std::filesystem::path& path);

void write_zip(const std::filesystem::path& path, const NamedBytes& members, bool is_compressed = false);

/// A .npy file in NumPy's format: "|u1", "2, 32, 32, 3".
Bytes npy_of(const std::string& type, const std::string& shape, const Bytes& content, bool is_fortran = false);

/// int64 [N].
Bytes npy_of(const std::vector<std::int64_t>& numbers);

/// A pickled dict of `data`, uint8 [N, 3072], and lists of whole numbers, as Python 2 wrote CIFAR's.
Bytes cifar_pickle_of(const Bytes& data, const std::vector<std::pair<std::string, std::vector<int>>>& lists);

/// A ustar archive; long names as in GNU tar.
Bytes tar_of(const NamedBytes& members);
Bytes gzip_of(const Bytes& bytes);

}  // namespace casdm::testing
