#include "png_decoder.h"

#include <png.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "casdm/error.h"
#include "casdm/prepare_image.h"

namespace casdm::dataset_images {

namespace {

/// libpng asks for no more at once for rows within our limits. It takes the length of an eXIf chunk on trust.
constexpr png_alloc_size_t kMaxAllocation = png_alloc_size_t{1} << 26;

class PngReader {
 public:
  explicit PngReader(Bytes bytes) : rest_(bytes) {
    run([&] {
      png_ = png_create_read_struct_2(
          PNG_LIBPNG_VER_STRING, this, keep_error, [](png_structp, png_const_charp) {}, nullptr, allocate,
          [](png_structp, png_voidp memory) { std::free(memory); });
      info_ = png_ != nullptr ? png_create_info_struct(png_) : nullptr;
    });
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw Error("libpng cannot start");
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  void read_header() {
    run([&] {
      png_set_read_fn(png_, this, read_bytes);
      png_set_user_limits(png_, PNG_UINT_31_MAX,
                          PNG_UINT_31_MAX);  // our own limits are checked next, with a better message
      // Texts and profiles may be compressed a thousandfold; only the orientation is needed.
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_AS_DEFAULT, reinterpret_cast<png_const_bytep>("eXIf"), 1);
      png_read_info(png_, info_);
    });
    check_sides(width(), height());
    run([&] {
      png_set_expand(png_);
      png_set_scale_16(png_);
      png_set_gray_to_rgb(png_);
      png_set_add_alpha(png_, 0xFF, PNG_FILLER_AFTER);
      png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
  }
  void read_row(png_bytep rgba) {
    run([&] { png_read_row(png_, rgba, nullptr); });
  }
  void read_all(png_bytepp rows) {
    run([&] { png_read_image(png_, rows); });
  }
  void read_end() {
    run([&] { png_read_end(png_, info_); });  // the orientation may follow the pixels
  }

  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  bool is_interlaced() const { return png_get_interlace_type(png_, info_) != PNG_INTERLACE_NONE; }
  int orientation() const {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    return png_get_eXIf_1(png_, info_, &size, &exif) != 0 ? orientation_of({exif, size}) : 1;
  }

 private:
  static void read_bytes(png_structp png, png_bytep target, std::size_t size) {
    auto& self = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > self.rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(target, self.rest_.data(), size);
    self.rest_ = self.rest_.subspan(size);
  }
  static png_voidp allocate(png_structp, png_alloc_size_t size) {
    return size <= kMaxAllocation ? std::malloc(size) : nullptr;
  }
  [[noreturn]] static void keep_error(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self.reason_.data(), message, self.reason_.size() - 1);
    self.jump_.leave();
  }

  template <class Call>
  void run(Call&& call) {
    if (!jump_.returns(call)) throw Error(reason_.data());
  }

  Bytes rest_;
  Jump jump_;
  std::array<char, 256> reason_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

DecodedImage decode_png(Bytes bytes, const Dataset::Spec& spec) {
  PngReader png(bytes);
  png.read_header();
  const auto width = static_cast<std::size_t>(png.width()), height = static_cast<std::size_t>(png.height());
  const std::size_t stride = width * 4;
  std::vector<std::uint8_t> rgba(stride);
  if (png.is_interlaced()) {  // its rows come in seven passes over the whole image
    check_working_bytes(stride * height, png.width(), png.height(), "interlaced");
    rgba.resize(stride * height);
    std::vector<png_bytep> rows(height);
    for (std::size_t y = 0; y < height; ++y) rows[y] = rgba.data() + y * stride;
    png.read_all(rows.data());
  }
  ImagePreparer preparer(png.width(), png.height(), 3, spec);
  std::vector<std::uint8_t> rgb(width * 3);
  for (std::size_t y = 0; y < height; ++y) {
    if (!png.is_interlaced()) png.read_row(rgba.data());
    flatten(rgba.data() + (png.is_interlaced() ? y * stride : 0), rgb);
    preparer.add_row(rgb);
  }
  png.read_end();
  return {preparer.finish(), png.orientation()};
}

}  // namespace casdm::dataset_images
