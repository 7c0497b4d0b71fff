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

  /// What the user should know of this image, as the end of a sentence: "have an orientation that is not applied"
  /// becomes "12 of 100 images have an orientation ...", once. The same words for the same reason; empty: nothing.
  std::string remark = {};
};

/// A finite collection of images, addressed by index.
///
/// Cropping, resizing, flipping, caching and batching are the host's; an image that is prepared already
/// (prepare_image.h), which spares memory when it is large, is left as it is. `get` is called from several threads at
/// once and must be a pure function of the index.
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

  /// What lies beside the images and is not read, for the line at the start of a training:
  /// "38 other files left out (.webp)"; empty: nothing.
  virtual std::string left_out() const { return {}; }
};

}  // namespace casdm
