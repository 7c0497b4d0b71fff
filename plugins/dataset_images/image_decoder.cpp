#include "image_decoder.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csetjmp>
#include <cstring>
#include <memory>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dataset_images {

namespace {

using Bytes = std::span<const std::uint8_t>;

/// No training image is larger; a damaged header may claim anything.
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;

Image empty_rgb(std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1 || width > kMaxPixels / height) {
    throw Error(text("its header claims ", width, " x ", height, " pixels"));
  }
  Image image{width, height, 3, {}};
  image.pixels.resize(static_cast<std::size_t>(width * height * 3));
  return image;
}

/// Adobe's CMYK is stored inverted: every channel is the amount of light that its ink lets through.
void cmyk_to_rgb(const std::vector<std::uint8_t>& cmyk, std::vector<std::uint8_t>& rgb) {
  for (std::size_t pixel = 0; pixel < cmyk.size() / 4; ++pixel) {
    const int key = cmyk[pixel * 4 + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      rgb[pixel * 3 + c] = static_cast<std::uint8_t>((cmyk[pixel * 4 + c] * key + 127) / 255);
    }
  }
}

/// libjpeg fills in what a damaged file lacks and only warns. Bytes between segments harm nothing; all else is damage.
void decompress(tjhandle handle, Bytes bytes, std::uint8_t* pixels, int width, int height, int format) {
  if (tjDecompress2(handle, bytes.data(), bytes.size(), pixels, width, 0, height, format, TJFLAG_ACCURATEDCT) == 0)
    return;
  const std::string reason = tjGetErrorStr2(handle);
  const bool is_warning = tjGetErrorCode(handle) == TJERR_WARNING;
  if (!is_warning || reason.find("extraneous bytes") == std::string::npos) throw Error(reason);
}

Image decode_jpeg(Bytes bytes) {
  // A new one for each image: a damaged image leaves state behind that spoils the next.
  const std::unique_ptr<void, int (*)(tjhandle)> owner(tjInitDecompress(), tjDestroy);
  const tjhandle handle = owner.get();
  if (handle == nullptr) throw Error("libturbojpeg cannot start");
  int width = 0, height = 0, subsampling = 0, colorspace = 0;
  if (tjDecompressHeader3(handle, bytes.data(), bytes.size(), &width, &height, &subsampling, &colorspace) != 0) {
    throw Error(tjGetErrorStr2(handle));
  }
  Image image = empty_rgb(width, height);
  if (colorspace == TJCS_CMYK || colorspace == TJCS_YCCK) {
    std::vector<std::uint8_t> cmyk(image.pixels.size() / 3 * 4);
    decompress(handle, bytes, cmyk.data(), width, height, TJPF_CMYK);
    cmyk_to_rgb(cmyk, image.pixels);
  } else {
    decompress(handle, bytes, image.pixels.data(), width, height, TJPF_RGB);
  }
  return image;
}

/// What libpng's callbacks share with the decoder.
struct PngSource {
  Bytes rest;
  std::array<char, 256> reason{};
};

void read_png_bytes(png_structp png, png_bytep target, std::size_t size) {
  auto& source = *static_cast<PngSource*>(png_get_io_ptr(png));
  if (size > source.rest.size()) png_error(png, "the file ends too early");
  std::memcpy(target, source.rest.data(), size);
  source.rest = source.rest.subspan(size);
}

[[noreturn]] void keep_png_error(png_structp png, png_const_charp message) {
  auto& source = *static_cast<PngSource*>(png_get_error_ptr(png));
  std::strncpy(source.reason.data(), message, source.reason.size() - 1);
  png_longjmp(png, 1);
}

void ignore_png_warning(png_structp, png_const_charp) {}

class PngReader {
 public:
  explicit PngReader(Bytes bytes) : source_{bytes, {}} {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source_, keep_png_error, ignore_png_warning);
    info_ = png_ != nullptr ? png_create_info_struct(png_) : nullptr;
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw Error("libpng cannot start");
    }
    png_set_read_fn(png_, &source_, read_png_bytes);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }

  void read_header() {
    if (!try_header()) throw Error(source_.reason.data());
  }
  void read_rows(png_bytep* rows) {
    if (!try_rows(rows)) throw Error(source_.reason.data());
  }

 private:
  // libpng leaves these two by longjmp, so they hold nothing that has a destructor.
  bool try_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_info(png_, info_);
    png_set_expand(png_);
    png_set_scale_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_add_alpha(png_, 0xFF, PNG_FILLER_AFTER);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  bool try_rows(png_bytep* rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  PngSource source_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

/// RGBA over white.
void flatten(const std::vector<std::uint8_t>& rgba, std::vector<std::uint8_t>& rgb) {
  for (std::size_t pixel = 0; pixel < rgba.size() / 4; ++pixel) {
    const int alpha = rgba[pixel * 4 + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      rgb[pixel * 3 + c] = static_cast<std::uint8_t>((rgba[pixel * 4 + c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
}

Image decode_png(Bytes bytes) {
  PngReader reader(bytes);
  reader.read_header();
  Image image = empty_rgb(reader.width(), reader.height());
  const auto stride = static_cast<std::size_t>(image.width) * 4;
  std::vector<std::uint8_t> rgba(stride * static_cast<std::size_t>(image.height));
  std::vector<png_bytep> rows(static_cast<std::size_t>(image.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = rgba.data() + y * stride;
  reader.read_rows(rows.data());
  flatten(rgba, image.pixels);
  return image;
}

bool starts_with(Bytes bytes, std::initializer_list<std::uint8_t> magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

Image decode_rgb(Bytes bytes) {
  if (bytes.empty()) throw Error("the file is empty");
  if (starts_with(bytes, {0xFF, 0xD8, 0xFF})) return decode_jpeg(bytes);
  if (starts_with(bytes, {0x89, 'P', 'N', 'G'})) return decode_png(bytes);
  throw Error("it is neither PNG nor JPEG");
}

}  // namespace

bool is_image_name(std::string_view name) {
  const auto ends_with = [name](std::string_view ending) {
    return name.size() > ending.size() && std::equal(ending.rbegin(), ending.rend(), name.rbegin(), [](char a, char b) {
             return a == std::tolower(static_cast<unsigned char>(b));
           });
  };
  return ends_with(".png") || ends_with(".jpg") || ends_with(".jpeg");
}

Image to_grey(const Image& rgb) {
  Image grey{rgb.width, rgb.height, 1, {}};
  grey.pixels.resize(rgb.pixels.size() / 3);
  for (std::size_t pixel = 0; pixel < grey.pixels.size(); ++pixel) {
    const std::uint8_t* p = rgb.pixels.data() + pixel * 3;
    grey.pixels[pixel] = static_cast<std::uint8_t>((p[0] * 299 + p[1] * 587 + p[2] * 114 + 500) / 1000);
  }
  return grey;
}

Image decode_image(Bytes bytes, std::int64_t channels, const std::string& name) {
  try {
    Image image = decode_rgb(bytes);
    return channels == 1 ? to_grey(image) : image;
  } catch (const Error& error) {
    throw Error(text(name, " cannot be decoded: ", error.what()));
  }
}

}  // namespace casdm::dataset_images
