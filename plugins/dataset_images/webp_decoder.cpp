#include "webp_decoder.h"

#include <webp/decode.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "casdm/error.h"
#include "casdm/prepare_image.h"

namespace casdm::dataset_images {

namespace {

constexpr std::size_t kRiffHeader = 12;
constexpr std::size_t kChunkHeader = 8;

std::size_t number_at(Bytes bytes, std::size_t at) {
  return bytes[at] | std::size_t{bytes[at + 1]} << 8 | std::size_t{bytes[at + 2]} << 16 |
         std::size_t{bytes[at + 3]} << 24;
}

/// The orientation in the EXIF chunk.
int orientation_in(Bytes webp) {
  constexpr std::string_view exif = "EXIF";
  for (std::size_t at = kRiffHeader; at + kChunkHeader <= webp.size();) {
    const std::size_t size = number_at(webp, at + 4);
    const Bytes content = webp.subspan(at + kChunkHeader);
    if (size > content.size()) break;
    if (std::equal(exif.begin(), exif.end(), webp.begin() + static_cast<std::ptrdiff_t>(at))) {
      return orientation_of(content.first(size));
    }
    at += kChunkHeader + size + size % 2;
  }
  return 1;
}

const char* words_for(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "the file ends too early";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "there is not enough memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "it has a feature that libwebp does not know";
    default:
      return "it is damaged";
  }
}

}  // namespace

DecodedImage decode_webp(Bytes bytes, const Dataset::Spec& spec) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) throw Error("libwebp has another version than was built with");
  VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &config.input);
  if (status != VP8_STATUS_OK) throw Error(words_for(status));
  if (config.input.has_animation != 0) throw Error("it is an animation; only single images are read");
  const auto width = static_cast<std::size_t>(config.input.width),
             height = static_cast<std::size_t>(config.input.height);
  const bool has_alpha = config.input.has_alpha != 0;
  const std::size_t channels = has_alpha ? 4 : 3;
  constexpr int lossless = 2;
  check_sides(config.input.width, config.input.height);
  check_working_bytes(width * height * (channels + (config.input.format == lossless ? 4 : 0)), config.input.width,
                      config.input.height, "WebP, which is decoded as a whole");
  config.output.colorspace = has_alpha ? MODE_RGBA : MODE_RGB;
  status = WebPDecode(bytes.data(), bytes.size(), &config);
  const std::unique_ptr<WebPDecBuffer, void (*)(WebPDecBuffer*)> output(&config.output, WebPFreeDecBuffer);
  if (status != VP8_STATUS_OK) throw Error(words_for(status));
  const WebPRGBABuffer& pixels = config.output.u.RGBA;
  ImagePreparer preparer(config.input.width, config.input.height, 3, spec);
  std::vector<std::uint8_t> rgb(width * 3);
  for (std::size_t y = 0; y < height; ++y) {
    const Bytes row(pixels.rgba + y * static_cast<std::size_t>(pixels.stride), width * channels);
    if (has_alpha) flatten(row.data(), rgb);
    preparer.add_row(has_alpha ? Bytes(rgb) : row);
  }
  return {preparer.finish(), orientation_in(bytes)};
}

}  // namespace casdm::dataset_images
