#include "image_makers.h"

#include <png.h>
#include <sys/resource.h>
#include <webp/encode.h>
#include <webp/mux.h>
#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdio>  // jpeglib.h needs it
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <jpeglib.h>

namespace casdm::testing {

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

namespace {

Bytes compress(const Bytes& pixels, std::int64_t width, std::int64_t height, J_COLOR_SPACE space, JpegScans scans,
               const Bytes& exif) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);  // its error handler ends the program
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = space == JCS_CMYK ? 4 : 3;
  jpeg.in_color_space = space;
  jpeg_set_defaults(&jpeg);
  if (space == JCS_CMYK) jpeg_set_colorspace(&jpeg, JCS_YCCK);
  jpeg_set_quality(&jpeg, 95, TRUE);
  for (int i = 0; i < jpeg.num_components; ++i) jpeg.comp_info[i].h_samp_factor = jpeg.comp_info[i].v_samp_factor = 1;
  if (scans == JpegScans::progressive) jpeg_simple_progression(&jpeg);
  const std::array<jpeg_scan_info, 3> channels = {
      {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}}};
  if (scans == JpegScans::one_per_channel) {
    jpeg.scan_info = channels.data();
    jpeg.num_scans = 3;
  }
  jpeg_start_compress(&jpeg, TRUE);
  if (!exif.empty()) jpeg_write_marker(&jpeg, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
  const std::size_t stride = pixels.size() / static_cast<std::size_t>(height);
  for (std::int64_t y = 0; y < height; ++y) {
    auto* row = const_cast<JSAMPROW>(pixels.data() + static_cast<std::size_t>(y) * stride);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  Bytes bytes(data, data + size);
  std::free(data);
  jpeg_destroy_compress(&jpeg);
  return bytes;
}

void put_number(std::uint8_t* target, std::uint32_t number) {
  for (int i = 0; i < 4; ++i) target[i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
}

/// Writes the checksum after the `size` bytes of a PNG chunk, which begins with length and name.
void put_checksum(std::uint8_t* chunk, std::size_t size) {
  put_number(chunk + 8 + size, static_cast<std::uint32_t>(crc32(0, chunk + 4, static_cast<uInt>(size + 4))));
}

constexpr std::ptrdiff_t kHeaderBegin =
    8;  ///< position of a PNG's IHDR, which has 13 bytes plus length, name and checksum
constexpr std::ptrdiff_t kHeaderEnd = 33;

/// The header block of a member.
Bytes tar_header(const std::string& name, std::size_t size, char type) {
  std::array<char, 512> block{};
  std::strncpy(block.data(), name.c_str(), 100);
  std::snprintf(block.data() + 100, 8, "%07o", 0644);
  std::snprintf(block.data() + 124, 12, "%011zo", size);
  block[156] = type;
  std::memcpy(block.data() + 257,
              "ustar\0"
              "00",
              8);
  std::memset(block.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (const char byte : block) sum += static_cast<unsigned char>(byte);
  std::snprintf(block.data() + 148, 8, "%06o", sum);
  return {block.begin(), block.end()};
}

void append_member(Bytes& archive, const std::string& name, const Bytes& content, char type) {
  const Bytes header = tar_header(name, content.size(), type);
  archive.insert(archive.end(), header.begin(), header.end());
  archive.insert(archive.end(), content.begin(), content.end());
  archive.resize((archive.size() + 511) / 512 * 512);
}

}  // namespace

Image pattern(std::int64_t width, std::int64_t height, int seed) {
  Image image{width, height, 3, {}};
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<std::uint8_t>(255 * x / width));
      image.pixels.push_back(static_cast<std::uint8_t>(255 * y / height));
      image.pixels.push_back(static_cast<std::uint8_t>((seed * 40) % 256));
    }
  }
  return image;
}

Image plain(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> colour) {
  Image image{width, height, static_cast<std::int64_t>(colour.size()), {}};
  for (std::int64_t i = 0; i < width * height; ++i)
    image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
  return image;
}

Bytes png_of(std::int64_t width, std::int64_t height, int depth, int colour_type, Bytes samples, bool is_interlaced) {
  Bytes bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp writer, png_bytep data, std::size_t size) {
        auto& target = *static_cast<Bytes*>(png_get_io_ptr(writer));
        target.insert(target.end(), data, data + size);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth, colour_type,
               is_interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (colour_type == PNG_COLOR_TYPE_PALETTE) {
    const png_color palette[] = {{255, 0, 0}, {0, 0, 255}};
    png_set_PLTE(png, info, palette, 2);
  }
  png_write_info(png, info);
  const std::size_t stride = samples.size() / static_cast<std::size_t>(height);
  for (int pass = png_set_interlace_handling(png); pass > 0; --pass) {
    for (std::int64_t y = 0; y < height; ++y) png_write_row(png, samples.data() + static_cast<std::size_t>(y) * stride);
  }
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

Bytes png_of(const Image& image, bool is_interlaced) {
  return png_of(image.width, image.height, 8, image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                image.pixels, is_interlaced);
}

Bytes with_chunk(const Bytes& png, std::string_view name, const Bytes& content, bool is_at_end) {
  Bytes chunk(content.size() + 12);
  put_number(chunk.data(), static_cast<std::uint32_t>(content.size()));
  std::memcpy(chunk.data() + 4, name.data(), 4);
  std::memcpy(chunk.data() + 8, content.data(), content.size());
  put_checksum(chunk.data(), content.size());
  Bytes result = png;
  constexpr std::ptrdiff_t end = 12;  // bytes of IEND
  result.insert(is_at_end ? result.end() - end : result.begin() + kHeaderEnd, chunk.begin(), chunk.end());
  return result;
}

Bytes with_sides(Bytes png, std::uint32_t width, std::uint32_t height) {
  std::uint8_t* header = png.data() + kHeaderBegin;
  put_number(header + 8, width);
  put_number(header + 12, height);
  put_checksum(header, 13);
  return png;
}

Bytes jpeg_of(const Image& rgb, JpegScans scans, const Bytes& exif) {
  return compress(rgb.pixels, rgb.width, rgb.height, JCS_RGB, scans, exif);
}

Bytes cmyk_jpeg_of(std::int64_t width, std::int64_t height, const Bytes& cmyk) {
  return compress(cmyk, width, height, JCS_CMYK, JpegScans::one, {});
}

Bytes exif_of(int orientation) {
  // A big-endian TIFF with a single entry: tag 0x0112, one short number.
  return {'E', 'x', 'i', 'f', 0,    0, 'M', 'M', 0, 42, 0, 0, 0,
          8,   0,   1,   1,   0x12, 0, 3,   0,   0, 0,  1, 0, static_cast<std::uint8_t>(orientation),
          0,   0,   0,   0,   0,    0};
}

long peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

void write_bytes(const std::filesystem::path& path, const Bytes& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  require(file.good(), "a test's file could not be written");
}

Bytes read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

namespace {

/// Copies and frees what libwebp has allocated.
Bytes taken(std::uint8_t* data, std::size_t size) {
  require(data != nullptr && size > 0, "no WebP");
  Bytes bytes(data, data + size);
  WebPFree(data);
  return bytes;
}

}  // namespace

Bytes webp_of(const Image& rgb, const Bytes& exif) {
  std::uint8_t* data = nullptr;
  const std::size_t size = WebPEncodeLosslessRGB(rgb.pixels.data(), static_cast<int>(rgb.width),
                                                 static_cast<int>(rgb.height), static_cast<int>(rgb.width * 3), &data);
  Bytes plain = taken(data, size);
  if (exif.empty()) return plain;
  WebPData image{plain.data(), plain.size()}, block{exif.data(), exif.size()}, result{};
  WebPMux* mux = WebPMuxCreate(&image, 1);
  require(WebPMuxSetChunk(mux, "EXIF", &block, 1) == WEBP_MUX_OK, "no EXIF");
  require(WebPMuxAssemble(mux, &result) == WEBP_MUX_OK, "no WebP");
  WebPMuxDelete(mux);
  Bytes bytes(result.bytes, result.bytes + result.size);
  WebPDataClear(&result);
  return bytes;
}

Bytes webp_of(std::int64_t width, std::int64_t height, const Bytes& rgba) {
  std::uint8_t* data = nullptr;
  const std::size_t size = WebPEncodeLosslessRGBA(rgba.data(), static_cast<int>(width), static_cast<int>(height),
                                                  static_cast<int>(width * 4), &data);
  return taken(data, size);
}

Bytes lossy_webp_of(const Image& rgb) {
  std::uint8_t* data = nullptr;
  const std::size_t size = WebPEncodeRGB(rgb.pixels.data(), static_cast<int>(rgb.width), static_cast<int>(rgb.height),
                                         static_cast<int>(rgb.width * 3), 100, &data);
  return taken(data, size);
}

Bytes animated_webp_of(const std::vector<Image>& frames) {
  WebPAnimEncoderOptions options;
  require(WebPAnimEncoderOptionsInit(&options) != 0, "no animation");
  WebPAnimEncoder* encoder =
      WebPAnimEncoderNew(static_cast<int>(frames.front().width), static_cast<int>(frames.front().height), &options);
  int milliseconds = 0;
  for (const Image& frame : frames) {
    WebPPicture picture;
    require(WebPPictureInit(&picture) != 0, "no picture");
    picture.width = static_cast<int>(frame.width);
    picture.height = static_cast<int>(frame.height);
    require(WebPPictureImportRGB(&picture, frame.pixels.data(), static_cast<int>(frame.width * 3)) != 0, "no picture");
    require(WebPAnimEncoderAdd(encoder, &picture, milliseconds, nullptr) != 0, "no frame");
    WebPPictureFree(&picture);
    milliseconds += 100;
  }
  require(WebPAnimEncoderAdd(encoder, nullptr, milliseconds, nullptr) != 0, "no end");
  WebPData result{};
  require(WebPAnimEncoderAssemble(encoder, &result) != 0, "no animation");
  Bytes bytes(result.bytes, result.bytes + result.size);
  WebPDataClear(&result);
  WebPAnimEncoderDelete(encoder);
  return bytes;
}

void write_zip(const std::filesystem::path& path, const NamedBytes& members, bool is_compressed) {
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const auto& [name, bytes] : members) {
    zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t entry = zip_file_add(archive, name.c_str(), source, 0);
    require(entry >= 0, "no zip entry");
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(entry), is_compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE,
                             0);
  }
  require(zip_close(archive) == 0, "no zip archive");
}

Bytes npy_of(const std::string& type, const std::string& shape, const Bytes& content, bool is_fortran) {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': " + (is_fortran ? "True" : "False") + ", 'shape': (" + shape + "), }";
  header.resize((header.size() + 10 + 64) / 64 * 64 - 11, ' ');
  header += '\n';
  Bytes bytes = bytes_of(std::string("\x93NUMPY\x01\0", 8));
  bytes.push_back(static_cast<std::uint8_t>(header.size()));
  bytes.push_back(static_cast<std::uint8_t>(header.size() >> 8));
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.insert(bytes.end(), content.begin(), content.end());
  return bytes;
}

Bytes npy_of(const std::vector<std::int64_t>& numbers) {
  Bytes content(numbers.size() * sizeof(std::int64_t));
  std::memcpy(content.data(), numbers.data(), content.size());
  return npy_of("<i8", std::to_string(numbers.size()) + ",", content);
}

Bytes cifar_pickle_of(const Bytes& data, const std::vector<std::pair<std::string, std::vector<int>>>& lists) {
  using namespace std::string_literals;
  std::string pickle = "\x80\x02}q\x01(U\x0b"s + "batch_labelq\x02U\x04testq\x03"s;
  const auto integer = [&](int value) {  // BININT1, BININT2 and BININT
    if (value >= 0 && value < 256) {
      pickle += "K"s + static_cast<char>(value);
    } else {
      pickle += "J"s;
      for (int shift = 0; shift < 32; shift += 8) pickle += static_cast<char>(value >> shift & 0xFF);
    }
  };
  const auto string = [&](const std::string& word) { pickle += "U"s + static_cast<char>(word.size()) + word; };
  for (const auto& [key, numbers] : lists) {
    string(key);
    pickle += "](";
    for (const int number : numbers) integer(number);
    pickle += "e";
  }
  pickle += "U\x04"s + "dataq\x06"s + "cnumpy.core.multiarray\n_reconstruct\nq\x07"s +
            "cnumpy\nndarray\nq\x08K\0\x85U\x01"s + "b\x87Rq\x09(K\x01"s;
  integer(static_cast<int>(data.size() / 3072));
  pickle += "M\0\x0c\x86"s +
            "cnumpy\ndtype\nq\x0aU\x02u1K\0K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T"s;
  for (int shift = 0; shift < 32; shift += 8) pickle += static_cast<char>(data.size() >> shift & 0xFF);
  pickle.append(data.begin(), data.end());
  pickle += "tbu."s;
  return bytes_of(pickle);
}

Bytes tar_of(const NamedBytes& members) {
  Bytes archive;
  for (const auto& [name, content] : members) {
    if (name.size() > 99) append_member(archive, "././@LongLink", bytes_of(name + '\0'), 'L');
    append_member(archive, name, content, name.ends_with('/') ? '5' : '0');
  }
  archive.resize(archive.size() + 1024);
  return archive;
}

Bytes gzip_of(const Bytes& bytes) {
  z_stream stream{};
  require(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "no gzip");
  Bytes result(deflateBound(&stream, bytes.size()) + 32);
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = result.data();
  stream.avail_out = static_cast<uInt>(result.size());
  require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "no gzip");
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

}  // namespace casdm::testing
