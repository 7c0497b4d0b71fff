#include "jpeg_decoder.h"

#include <array>
#include <cstdio>  // jpeglib.h needs it
#include <cstring>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

#include "casdm/error.h"
#include "casdm/prepare_image.h"

namespace casdm::dataset_images {

namespace {

/// Each scan of a file is a pass over all of its pixels; a file with this many is meant to waste time.
constexpr int kMaxScans = 200;

/// Every other warning says that pixels are lost or invented:
/// HIT_MARKER, JPEG_EOF       the data end before the image does
/// HUFF_BAD_CODE, ARITH_BAD_CODE, MUST_RESYNC  the data are damaged
/// BOGUS_PROGRESSION          a scan is missing or occurs twice
bool is_harmless(int warning) {
  return warning == JWRN_EXTRANEOUS_DATA ||  // bytes between segments, which are skipped
         warning == JWRN_NOT_SEQUENTIAL ||   // scan parameters that are meaningless in a sequential file
         warning == JWRN_ADOBE_XFORM ||      // an unknown colour transform is treated as the usual one
         warning == JWRN_JFIF_MAJOR;         // a newer JFIF
}

class JpegReader {
 public:
  JpegReader() {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = [](j_common_ptr jpeg) { self(jpeg).fail_as_libjpeg_says(); };
    errors_.emit_message = [](j_common_ptr jpeg, int level) {
      if (level < 0 && !is_harmless(jpeg->err->msg_code)) self(jpeg).fail_as_libjpeg_says();
    };
    progress_.progress_monitor = [](j_common_ptr jpeg) {
      JpegReader& reader = self(jpeg);
      if (reader.jpeg_.input_scan_number > kMaxScans) reader.fail("it has more than 200 scans");
    };
    jpeg_.client_data = this;
    run([&] { jpeg_create_decompress(&jpeg_); });
    jpeg_.progress = &progress_;
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  jpeg_decompress_struct* operator->() { return &jpeg_; }

  /// Runs `call(jpeg)`, in which no object with a destructor may live. Throws Error with libjpeg's reason.
  template <class Call>
  void run(Call&& call) {
    if (!jump_.returns(call)) throw Error(reason_.data());
  }

  void read_header(Bytes bytes) {
    run([&] {
      jpeg_mem_src(&jpeg_, bytes.data(), bytes.size());
      jpeg_read_header(&jpeg_, TRUE);
    });
  }

  /// Files with several scans are decoded from all of their coefficients at once.
  void check_limits() {
    check_sides(jpeg_.image_width, jpeg_.image_height);
    if (jpeg_has_multiple_scans(&jpeg_) == FALSE) return;
    std::uint64_t bytes = 0;
    for (int i = 0; i < jpeg_.num_components; ++i) {
      const jpeg_component_info& plane = jpeg_.comp_info[i];
      bytes += std::uint64_t{plane.width_in_blocks} * plane.height_in_blocks * DCTSIZE2 * sizeof(JCOEF);
    }
    check_working_bytes(bytes, jpeg_.image_width, jpeg_.image_height, "progressive or in several scans");
  }

 private:
  static JpegReader& self(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }

  [[noreturn]] void fail(const char* reason) {
    std::strncpy(reason_.data(), reason, reason_.size() - 1);
    jump_.leave();
  }
  [[noreturn]] void fail_as_libjpeg_says() {
    errors_.format_message(reinterpret_cast<j_common_ptr>(&jpeg_), reason_.data());
    jump_.leave();
  }

  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  Jump jump_;
  std::array<char, JMSG_LENGTH_MAX> reason_{};
};

/// Adobe's CMYK is stored inverted: every channel is the amount of light that its ink transmits.
void cmyk_to_rgb(const std::vector<std::uint8_t>& cmyk, std::vector<std::uint8_t>& rgb) {
  for (std::size_t pixel = 0; pixel < cmyk.size() / 4; ++pixel) {
    const int key = cmyk[pixel * 4 + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      rgb[pixel * 3 + c] = static_cast<std::uint8_t>((cmyk[pixel * 4 + c] * key + 127) / 255);
    }
  }
}

/// The orientation in the first EXIF segment before the image.
int orientation_in(Bytes jpeg) {
  constexpr std::uint8_t app1 = 0xE1, scan = 0xDA;
  std::size_t at = 2;
  while (at + 4 <= jpeg.size() && jpeg[at] == 0xFF && jpeg[at + 1] != scan) {
    const std::size_t length = static_cast<std::size_t>(jpeg[at + 2]) << 8 | jpeg[at + 3];  // including itself
    if (length < 2 || at + 2 + length > jpeg.size()) break;
    const Bytes content = jpeg.subspan(at + 4, length - 2);
    if (jpeg[at + 1] == app1 && begins_as_exif(content)) return orientation_of(content);
    at += 2 + length;
  }
  return 1;
}

}  // namespace

DecodedImage decode_jpeg(Bytes bytes, const Dataset::Spec& spec) {
  JpegReader jpeg;
  jpeg.read_header(bytes);
  jpeg.check_limits();
  const bool is_cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  jpeg.run([&] { jpeg_start_decompress(jpeg.operator->()); });
  const auto width = static_cast<std::size_t>(jpeg->output_width);
  std::vector<std::uint8_t> row(width * (is_cmyk ? 4 : 3)), rgb(is_cmyk ? width * 3 : 0);
  ImagePreparer preparer(jpeg->output_width, jpeg->output_height, 3, spec);
  for (JSAMPROW target = row.data(); jpeg->output_scanline < jpeg->output_height;) {
    jpeg.run([&] { jpeg_read_scanlines(jpeg.operator->(), &target, 1); });
    if (is_cmyk) cmyk_to_rgb(row, rgb);
    preparer.add_row(is_cmyk ? rgb : row);
  }
  jpeg.run([&] { jpeg_finish_decompress(jpeg.operator->()); });
  return {preparer.finish(), orientation_in(bytes)};
}

}  // namespace casdm::dataset_images
