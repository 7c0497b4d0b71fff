#include "image_decoder.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "jpeg_decoder.h"
#include "png_decoder.h"
#include "webp_decoder.h"

namespace casdm::dataset_images {

namespace {

bool starts_with(Bytes bytes, std::initializer_list<std::uint8_t> magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

bool is_jpeg(Bytes bytes) { return starts_with(bytes, {0xFF, 0xD8, 0xFF}); }
bool is_png(Bytes bytes) { return starts_with(bytes, {0x89, 'P', 'N', 'G'}); }
bool is_webp(Bytes bytes) {
  return bytes.size() >= 12 && starts_with(bytes, {'R', 'I', 'F', 'F'}) &&
         starts_with(bytes.subspan(8), {'W', 'E', 'B', 'P'});
}

DecodedImage decode(Bytes bytes, const Dataset::Spec& spec) {
  if (bytes.empty()) throw Error("the file is empty");
  if (is_jpeg(bytes)) return decode_jpeg(bytes, spec);
  if (is_png(bytes)) return decode_png(bytes, spec);
  if (is_webp(bytes)) return decode_webp(bytes, spec);
  throw Error("it is neither PNG nor JPEG nor WebP");
}

}  // namespace

bool is_image_name(std::string_view name) {
  const auto ends_with = [name](std::string_view ending) {
    return name.size() > ending.size() && std::equal(ending.rbegin(), ending.rend(), name.rbegin(), [](char a, char b) {
             return a == std::tolower(static_cast<unsigned char>(b));
           });
  };
  return ends_with(".png") || ends_with(".jpg") || ends_with(".jpeg") || ends_with(".webp");
}

bool looks_like_image(Bytes bytes) { return is_jpeg(bytes) || is_png(bytes) || is_webp(bytes); }

Image to_grey(const Image& rgb) {
  Image grey{rgb.width, rgb.height, 1, {}};
  grey.pixels.resize(rgb.pixels.size() / 3);
  for (std::size_t pixel = 0; pixel < grey.pixels.size(); ++pixel) {
    const std::uint8_t* p = rgb.pixels.data() + pixel * 3;
    grey.pixels[pixel] = static_cast<std::uint8_t>((p[0] * 299 + p[1] * 587 + p[2] * 114 + 500) / 1000);
  }
  return grey;
}

Example decode_image(Bytes bytes, const ImageForm& form, const std::string& name) {
  try {
    DecodedImage decoded = decode(bytes, form.spec);
    if (decoded.orientation == 1) return {std::move(decoded.image)};
    if (form.orientation == ExifOrientation::apply) return {turned(decoded.image, decoded.orientation)};
    return {std::move(decoded.image), -1,
            "have an EXIF orientation that is not applied (exif_orientation = \"apply\")"};
  } catch (const Error& error) {
    throw Error(text(name, " cannot be decoded: ", error.what()));
  }
}

}  // namespace casdm::dataset_images
