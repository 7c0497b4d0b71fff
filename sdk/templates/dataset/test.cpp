#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

namespace {

/// Writes a NumPy file with this header and the bytes 0, 1, 2, ...
void write(const std::filesystem::path& path, std::string header, std::size_t bytes) {
  header.resize(118, ' ');
  std::ofstream file(path, std::ios::binary);
  file << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header;
  for (std::size_t i = 0; i < bytes; ++i) file.put(static_cast<char>(i));
}

bool is_refused(const std::filesystem::path& path, const std::string& header, std::size_t bytes) {
  write(path, header, bytes);
  try {
    make<casdm::Dataset>("template_name", casdm::Value::Table{{"path", path.string()}},
                         {casdm::ImageShape::square(3, 2)});
  } catch (const casdm::Error&) {
    return true;
  }
  return false;
}

bool throws_beyond_the_end(const casdm::Dataset& dataset) {
  try {
    dataset.get(dataset.size());
  } catch (const casdm::Error&) {
    return true;
  }
  return false;
}

}  // namespace

int main() {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("template_name_test-" + std::to_string(::getpid()) + ".npy");
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3, 3), }";
  write(path, header, 36);
  const casdm::Value options = casdm::Value::Table{{"path", path.string()}};

  const auto dataset = make<casdm::Dataset>("template_name", options, {casdm::ImageShape::square(3, 2)});
  check(dataset->size() == 2, "it has as many images as the file");
  const casdm::Image image = dataset->get(1).image;
  check(image.height == 2 && image.width == 3 && image.channels == 3, "an image has the size it has in the file");
  check(image.pixels.size() == 18 && image.pixels.front() == 18 && image.pixels.back() == 35,
        "image 1 is the second half of the bytes");
  check(throws_beyond_the_end(*dataset), "an index past the end is refused");
  const casdm::Image grey =
      make<casdm::Dataset>("template_name", options, {casdm::ImageShape::square(1, 2)})->get(0).image;
  check(grey.pixels.size() == 6 && grey.pixels.front() == 1, "a grey image is the luma: of 0, 1, 2 it is 1");

  check(is_refused(path, header, 35), "a file that is cut short is refused");
  check(is_refused(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 3, 3), }", 36),
        "floats are refused");
  check(is_refused(path, "{'descr': '|u1', 'fortran_order': False, 'shape': (36,), }", 36), "one axis is refused");
  std::filesystem::remove(path);
  return casdm::testing::result();
}
