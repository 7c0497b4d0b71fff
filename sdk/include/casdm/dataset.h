#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/condition.h"
#include "casdm/image_shape.h"

namespace casdm CASDM_API {

/// An image: rows from the top, pixels interleaved (HWC). 8-bit, or floating point where `values` holds it instead.
struct Image {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t channels = 3;
  std::vector<std::uint8_t> pixels;  ///< height * width * channels
  std::vector<float> values =
      {};  ///< in [-1, 1], instead of pixels; must have the size asked for, as it is not resized
};

/// One image's array of an extra (ExtraInfo). Only one of the two is filled, with as many numbers as its shape has.
struct ExtraArray {
  std::vector<float> values = {};
  std::vector<std::int64_t> integers = {};
};

struct Example {
  Image image;
  std::int64_t label = -1;  ///< 0..num_classes-1; -1: unlabelled

  /// What the user should know about this image, as the end of a sentence: "have an orientation that is not applied"
  /// becomes "12 of 100 images have an orientation ...", once. The same text for the same reason; empty: nothing.
  std::string remark = {};

  std::map<std::string, ExtraArray> extras = {};  ///< one for each of Dataset::extras
};

/// A finite collection of images, addressed by index.
///
/// Cropping, resizing, flipping, caching and batching are the host's; an image that is already prepared
/// (prepare_image.h), which saves memory when it is large, is left as it is. `get` is called from several threads at
/// once and must be a pure function of the index.
class Dataset {
 public:
  using Interface = Dataset;
  static constexpr std::string_view kind = "dataset";
  static constexpr int interface_version = 2;

  struct Spec {
    /// What the host will make of the images; `get` must return so many channels. Of height and width 0: images are
    /// wanted as they are stored (`casdm data inspect`).
    ImageShape image = {};
  };

  virtual ~Dataset();

  /// Number of images; the host refuses 0.
  virtual std::int64_t size() const = 0;

  /// @param index  0..size()-1
  /// Throws Error naming the file when the image cannot be read or decoded.
  virtual Example get(std::int64_t index) const = 0;

  /// Number of classes; 0 when unlabelled.
  virtual std::int64_t num_classes() const { return 0; }

  /// Whether images are Image::values instead of 8-bit pixels.
  virtual bool is_floating_point() const { return false; }

  /// The arrays that come with every image, for networks to be conditioned on; none by default.
  virtual std::vector<ExtraInfo> extras() const { return {}; }

  /// Where image `index` comes from, for messages.
  virtual std::string describe(std::int64_t index) const = 0;

  /// What lies beside the images and is not read, for the line at the start of a training:
  /// "38 other files left out (.webp)"; empty: nothing.
  virtual std::string left_out() const { return {}; }
};

}  // namespace casdm
