#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "casdm/api.h"
#include "casdm/dataset.h"

namespace casdm CASDM_API {

/// Makes an image as the networks see it: its central square, `image_size` x `image_size`, with `channels` channels.
///
/// Resizes as guided-diffusion's center_crop_arr does, in its order of operations: box-filtered halves while the
/// shorter side is at least twice the target, then an antialiased bicubic filter (a = -0.5), then the crop. Each
/// resizing works along the rows, then the columns, with 8 bits between: bitwise what Pillow 11.3 gives (Pillow 13
/// takes the columns of tall images first, which rounds otherwise). An image of the right size comes back unchanged.
/// Grey becomes RGB by repetition, RGB grey by the luma of ITU-R BT.601.
/// For an `image_size` of 0 nothing is resized or cropped, as `casdm data inspect` wants to see images.
///
/// The image is taken row by row, and of each row only what the crop keeps is computed, so a decoder that reads rows
/// needs a few of them whatever the size of the image.
class ImagePreparer {
 public:
  /// @param width, height, channels  of the image that will be added
  /// @param spec                     of the image to be made
  /// Throws Error when the sides are not positive or a number of channels is not 1 or 3.
  ImagePreparer(std::int64_t width, std::int64_t height, std::int64_t channels, const Dataset::Spec& spec);
  ~ImagePreparer();

  /// The next row from the top: width * channels bytes.
  void add_row(std::span<const std::uint8_t> row);

  /// The image, after its last row. Once.
  Image finish();

 private:
  class Chain;
  std::unique_ptr<Chain> chain_;
};

/// The same of a whole image. Throws Error when its sides, channels and number of pixels contradict each other.
Image prepare_image(const Image& image, const Dataset::Spec& spec);

}  // namespace casdm
