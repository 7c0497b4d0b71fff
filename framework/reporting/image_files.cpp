#include "framework/reporting/image_files.h"

#include <ATen/ATen.h>
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string_view>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::int64_t kLeastWidth = 64;  // of an image in a grid, so that people can see it

namespace fs = std::filesystem;

constexpr std::int64_t kPadding = 2;
constexpr std::size_t kAfterHeader = 8 + 25;  // a PNG's signature and its first chunk

/// A chunk of a PNG: length, type, content and CRC-32 of type and content; numbers are big-endian.
std::string chunk(const std::string& type, const std::string& content) {
  const auto number = [](std::uint64_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
    return bytes;
  };
  const std::string checked = type + content;
  return number(content.size()) + checked +
         number(::crc32_z(0, reinterpret_cast<const Bytef*>(checked.data()), checked.size()));
}

/// Text as tEXt, which every reader knows, or as iTXt if it is not plain ASCII.
std::string text_chunk(const std::string& keyword, const std::string& content) {
  const bool is_plain = std::all_of(content.begin(), content.end(), [](char c) { return c > 0; });
  if (is_plain) return chunk("tEXt", keyword + '\0' + content);
  return chunk("iTXt", keyword + std::string(5, '\0') + content);  // not compressed, no language, no translation
}

at::Tensor checked(const at::Tensor& images, std::int64_t dimensions) {
  const bool good = images.scalar_type() == at::kByte && images.dim() == dimensions &&
                    (images.size(-3) == 1 || images.size(-3) == 3) && images.numel() > 0;
  if (!good) {
    throw Error(text("cannot make images of a tensor of ", images.scalar_type(), " ", images.sizes(),
                     ": expected Byte, ", dimensions == 4 ? "[N, C, H, W]" : "[C, H, W]", " with 1 or 3 channels"));
  }
  return images.cpu();
}

}  // namespace

std::string encode_png(const Image& image, const PngText& about) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::string content(PNG_IMAGE_PNG_SIZE_MAX(header), '\0');
  png_alloc_size_t size = content.size();
  if (png_image_write_to_memory(&header, content.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0) {
    throw Error(text("an image cannot be encoded as PNG: ", header.message));
  }
  content.resize(size);
  std::string chunks;
  for (const auto& [keyword, content] : about) chunks += text_chunk(keyword, content);
  return content.insert(kAfterHeader, chunks);
}

bool is_png_of(const std::string& content, const Image& image) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(&header, content.data(), content.size()) == 0) return false;
  header.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<std::uint8_t> pixels(image.pixels.size());
  const bool is_like = header.width == image.width && header.height == image.height &&
                       PNG_IMAGE_SIZE(header) == pixels.size() &&
                       png_image_finish_read(&header, nullptr, pixels.data(), 0, nullptr) != 0;
  png_image_free(&header);
  return is_like && pixels == image.pixels;
}

void write_png(const fs::path& path, const Image& image, const PngText& about) {
  AtomicFile file(path);
  file.write(encode_png(image, about));
  file.commit(false);
}

bool is_png_of_ours(const fs::path& path) {
  constexpr std::string_view mark("Software\0casdm ", 15);
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::string start(1024, '\0');
  std::ifstream(path, std::ios::binary).read(start.data(), static_cast<std::streamsize>(start.size()));
  return start.find(mark) != std::string::npos;
}

Image to_image(const at::Tensor& chw) {
  const at::Tensor hwc = checked(chw, 3).permute({1, 2, 0}).contiguous();
  Image image{hwc.size(1), hwc.size(0), hwc.size(2), {}};
  const std::uint8_t* bytes = hwc.data_ptr<std::uint8_t>();
  image.pixels.assign(bytes, bytes + hwc.numel());
  return image;
}

Image image_grid(const at::Tensor& images, std::int64_t scale) {
  at::Tensor all = checked(images, 4);
  if (scale == 0) scale = (kLeastWidth + images.size(3) - 1) / images.size(3);
  all = all.repeat_interleave(scale, 2).repeat_interleave(scale, 3);
  const std::int64_t count = all.size(0);
  const auto columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const std::int64_t rows = (count + columns - 1) / columns;
  const std::int64_t height = all.size(2) + kPadding, width = all.size(3) + kPadding;
  at::Tensor grid = at::full({all.size(1), rows * height + kPadding, columns * width + kPadding}, 255, at::kByte);
  for (std::int64_t i = 0; i < count; ++i) {
    grid.narrow(1, i / columns * height + kPadding, all.size(2))
        .narrow(2, i % columns * width + kPadding, all.size(3))
        .copy_(all[i]);
  }
  return to_image(grid);
}

}  // namespace casdm
