#include "framework/reporting/image_files.h"

#include <ATen/ATen.h>
#include <png.h>
#include <zip.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::int64_t kLeastWidth = 64;  // of an image in a grid, for people

namespace fs = std::filesystem;

constexpr std::int64_t kPadding = 2;

/// The header of NumPy's .npy format, version 1.0, for an array in C order.
std::string npy_header(const std::string& type, at::IntArrayRef shape) {
  std::string sizes;
  for (const std::int64_t size : shape) sizes += text(size, ",");
  std::string header = text("{'descr': '", type, "', 'fortran_order': False, 'shape': (", sizes, "), }");
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  const std::size_t total = (kPrefix + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(total - kPrefix - 1, ' ');
  header += '\n';
  const std::size_t length = header.size();
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(length & 0xFF) + static_cast<char>(length >> 8) +
         header;
}

/// An array as it is put into the archive: its header, then its bytes. Lives until the archive is closed.
struct NpyArray {
  std::string name;
  std::string header;
  at::Tensor values;
  zip_buffer_fragment_t parts[2];

  NpyArray(std::string array_name, const char* type, const at::Tensor& tensor)
      : name(std::move(array_name)), header(npy_header(type, tensor.sizes())), values(tensor.cpu().contiguous()) {
    parts[0] = {reinterpret_cast<zip_uint8_t*>(header.data()), header.size()};
    parts[1] = {static_cast<zip_uint8_t*>(values.data_ptr()), static_cast<zip_uint64_t>(values.nbytes())};
  }
  NpyArray(const NpyArray&) = delete;
  NpyArray& operator=(const NpyArray&) = delete;
};

/// Throws Error with libzip's reason when a step fails.
void write_archive(const fs::path& path, const std::vector<std::unique_ptr<NpyArray>>& arrays) {
  int code = 0;
  std::unique_ptr<zip_t, void (*)(zip_t*)> archive(zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code),
                                                   zip_discard);
  if (!archive) throw Error(std::strerror(errno));
  const auto check = [&](bool good) {
    if (!good) throw Error(zip_strerror(archive.get()));
  };
  for (const std::unique_ptr<NpyArray>& array : arrays) {
    zip_source_t* source =
        zip_source_buffer_fragment(archive.get(), array->parts, array->values.nbytes() > 0 ? 2 : 1, 0);
    check(source != nullptr);
    const zip_int64_t entry = zip_file_add(archive.get(), array->name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (entry < 0) zip_source_free(source);
    check(entry >= 0);
    const auto number = static_cast<zip_uint64_t>(entry);
    check(zip_set_file_compression(archive.get(), number, ZIP_CM_STORE, 0) == 0);
    // The same samples make the same file: no time of writing.
    check(zip_file_set_dostime(archive.get(), number, 0, 0x21, 0) == 0);
  }
  check(zip_close(archive.get()) == 0);
  archive.release();
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

void write_png(const fs::path& path, const Image& image) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::string content(PNG_IMAGE_PNG_SIZE_MAX(header), '\0');
  png_alloc_size_t size = content.size();
  if (png_image_write_to_memory(&header, content.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0) {
    throw Error(text(path.string(), " cannot be written: ", header.message));
  }
  content.resize(size);
  AtomicFile file(path);
  file.write(content);
  file.commit(false);
}

Image to_image(const at::Tensor& chw) {
  const at::Tensor hwc = checked(chw, 3).permute({1, 2, 0}).contiguous();
  Image image{hwc.size(1), hwc.size(0), hwc.size(2), {}};
  const std::uint8_t* bytes = hwc.data_ptr<std::uint8_t>();
  image.pixels.assign(bytes, bytes + hwc.numel());
  return image;
}

void write_pngs(const fs::path& folder, const at::Tensor& images, std::int64_t first) {
  const at::Tensor all = checked(images, 4);
  for (std::int64_t i = 0; i < all.size(0); ++i) {
    std::array<char, 32> name;
    std::snprintf(name.data(), name.size(), "%06lld.png", static_cast<long long>(first + i));
    write_png(folder / name.data(), to_image(all[i]));
  }
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

void write_npz(const fs::path& path, const at::Tensor& images, const at::Tensor& labels) {
  std::vector<std::unique_ptr<NpyArray>> arrays;
  arrays.push_back(std::make_unique<NpyArray>("arr_0.npy", "|u1", checked(images, 4).permute({0, 2, 3, 1})));
  if (labels.defined()) arrays.push_back(std::make_unique<NpyArray>("arr_1.npy", "<i8", labels.to(at::kLong)));
  AtomicFile file(path);
  try {
    write_archive(file.temporary(), arrays);
  } catch (const Error& error) {
    throw Error(text(path.string(), " cannot be written: ", error.what()));
  }
  file.reopen();  // libzip has renamed a file of its own
  file.commit();
}

}  // namespace casdm
