#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace casdm {

/// An 8-bit image: rows from the top, pixels interleaved (HWC).
struct Image {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t channels = 3;
  std::vector<std::uint8_t> pixels;  ///< height * width * channels
};

struct Example {
  Image image;
  std::int64_t label = -1;  ///< 0..num_classes-1; -1: unlabelled
};

/// A finite collection of images, addressed by index.
///
/// Cropping, resizing, flipping, caching and batching are the host's. `get` is called from
/// several threads at once and must be a pure function of the index.
class Dataset {
 public:
  using Interface = Dataset;
  static constexpr std::string_view kind = "dataset";
  static constexpr int interface_version = 1;

  struct Spec {
    std::int64_t image_size = 32;  ///< what the host will make of the images, in pixels
    std::int64_t channels = 3;     ///< 3 RGB, 1 grey: what `get` must return
  };

  virtual ~Dataset();

  /// Number of images; the host refuses 0.
  virtual std::int64_t size() const = 0;

  /// @param index  0..size()-1
  /// Throws Error naming the file when the image cannot be read or decoded.
  virtual Example get(std::int64_t index) const = 0;

  /// Number of classes; 0 when unlabelled.
  virtual std::int64_t num_classes() const { return 0; }

  /// Where image `index` comes from, for messages.
  virtual std::string describe(std::int64_t index) const = 0;
};

}  // namespace casdm
