#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>

#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/text.h"

namespace {

struct TemplateNameOptions {
  std::filesystem::path path;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("path", &TemplateNameOptions::path, "File of images: np.save(path, array), uint8 [N, H, W, 3 or 1].")
        .required();
  }
};

/// Images in a NumPy file. `get` is called by several threads at once, so each call opens the file itself.
class TemplateNameDataset : public casdm::Dataset {
 public:
  using Options = TemplateNameOptions;

  TemplateNameDataset(const Options& options, const Spec& spec) : path_(options.path), spec_(spec) { read_header(); }

  std::int64_t size() const override { return shape_[0]; }

  casdm::Example get(std::int64_t index) const override {
    if (index < 0 || index >= size()) throw casdm::Error(casdm::text("there is no ", describe(index)));
    const auto bytes = static_cast<std::size_t>(image_bytes());
    std::vector<std::uint8_t> pixels(bytes);
    std::ifstream file(path_, std::ios::binary);
    file.seekg(first_image_ + index * image_bytes());
    if (!file.read(reinterpret_cast<char*>(pixels.data()), image_bytes())) {
      throw casdm::Error(casdm::text(describe(index), " cannot be read"));
    }
    return {{shape_[2], shape_[1], spec_.image.channels, in_channels(pixels)}, -1};
  }

  std::string describe(std::int64_t index) const override {
    return casdm::text("image ", index, " of ", path_.string());
  }

 private:
  std::int64_t image_bytes() const { return shape_[1] * shape_[2] * shape_[3]; }

  /// The file begins with "\x93NUMPY", two version bytes, the length of the header, and the header, a Python
  /// dictionary: {'descr': '|u1', 'fortran_order': False, 'shape': (1000, 32, 32, 3), }
  void read_header() {
    std::ifstream file(path_, std::ios::binary);
    std::array<char, 10> start{};
    if (!file.read(start.data(), start.size())) throw casdm::Error(casdm::text(path_.string(), " cannot be read"));
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(start[i])); };
    if (std::memcmp(start.data(), "\x93NUMPY\x01", 7) != 0) refuse("it is not a NumPy file of version 1");
    std::string header(byte(8) + 256 * byte(9), ' ');
    if (!file.read(header.data(), static_cast<std::streamsize>(header.size()))) refuse("it is cut short");
    first_image_ = file.tellg();
    if (header.find("'|u1'") == std::string::npos) refuse("it does not hold bytes; save array.astype(np.uint8)");
    if (header.find("'fortran_order': False") == std::string::npos) refuse("it is in Fortran order");
    const std::size_t shape = header.find("'shape': (");
    if (shape == std::string::npos || std::sscanf(header.c_str() + shape, "'shape': (%ld, %ld, %ld, %ld)", &shape_[0],
                                                  &shape_[1], &shape_[2], &shape_[3]) != 4) {
      refuse("its shape is not [N, H, W, C]");
    }
    if (*std::min_element(shape_.begin(), shape_.end()) < 1 || (shape_[3] != 1 && shape_[3] != 3)) {
      refuse("it must hold at least one image of 3 channels, or of 1");
    }
    const auto expected = static_cast<std::uintmax_t>(first_image_ + shape_[0] * image_bytes());
    if (std::filesystem::file_size(path_) != expected) refuse("its size is not that of its images");
  }

  [[noreturn]] void refuse(const std::string& reason) const {
    throw casdm::Error(casdm::text(path_.string(), ": ", reason));
  }

  /// The pixels in the number of channels that the host requested: grey becomes RGB by repetition, RGB becomes grey as
  /// its luma (ITU-R BT.601).
  std::vector<std::uint8_t> in_channels(const std::vector<std::uint8_t>& pixels) const {
    if (shape_[3] == spec_.image.channels) return pixels;
    std::vector<std::uint8_t> result;
    if (shape_[3] == 1) {
      for (const std::uint8_t grey : pixels) result.insert(result.end(), 3, grey);
    } else {
      for (std::size_t i = 0; i < pixels.size(); i += 3) {
        const double luma = 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
        result.push_back(static_cast<std::uint8_t>(std::lround(luma)));
      }
    }
    return result;
  }

  std::filesystem::path path_;
  Spec spec_;
  std::array<std::int64_t, 4> shape_{};  ///< N, H, W, C
  std::int64_t first_image_ = 0;         ///< its position in the file
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A data set of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameDataset>("template_name", "Images of a NumPy file.");
}
