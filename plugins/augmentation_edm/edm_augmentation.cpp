#include "edm_augmentation.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/text.h"
#include "like.h"
#include "mirrored.h"

namespace casdm::augmentation_edm {

namespace {

/// `image` [C, H, W] shifted to the right and upwards, the borders mirrored.
Tensor shifted(const Tensor& image, const std::array<std::int64_t, 2>& shift) {
  const auto indices = [&](std::int64_t size, std::int64_t offset) {
    std::vector<std::int64_t> index;
    for (std::int64_t i = 0; i < size; ++i) index.push_back(mirrored(i + offset, size));
    return to_device(at::tensor(index, at::kLong), image.device());
  };
  return image.index_select(2, indices(image.size(2), -shift[0])).index_select(1, indices(image.size(1), shift[1]));
}

/// `image` [C, H, W] with each pixel's colour mapped; for a grey image, the average of the colour that the map gives
/// for its grey.
Tensor recoloured(const Tensor& image, const Matrix4& map) {
  std::vector<double> linear;
  std::vector<double> offset;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) linear.push_back(map[i][j]);
    offset.push_back(map[i][3]);
  }
  const Tensor matrix = at::tensor(linear, at::kDouble).view({3, 3});
  const Tensor vector = at::tensor(offset, at::kDouble);
  if (image.size(0) == 1) return image * matrix.sum(1).mean().item<double>() + vector.mean().item<double>();
  return at::einsum("ij,jhw->ihw", {like(matrix, image), image}) + like(vector, image).view({3, 1, 1});
}

}  // namespace

EdmAugmentation::EdmAugmentation(const EdmAugmentationOptions& options, const Spec& spec)
    : options_(options),
      image_size_(spec.image.height),
      label_size_(static_cast<std::int64_t>(labels_of(options, ImageDraw{}, spec.image.height).size())) {
  if (options.has_colour() && spec.image.channels != 1 && spec.image.channels != 3) {
    throw ConfigError(
        text("colours can be changed in images of 3 channels (RGB) or 1 (grey), got ", spec.image.channels));
  }
  if (options.has_geometry()) resampler_.emplace(spec.image.height);
}

Tensor EdmAugmentation::transformed(Tensor image, const ImageDraw& draw) const {
  if (draw.is_x_flipped) image = image.flip({2});
  if (draw.is_y_flipped) image = image.flip({1});
  if (draw.quarter_turns != 0) image = at::rot90(image, draw.quarter_turns, {1, 2});
  if (draw.pixel_shift[0] != 0 || draw.pixel_shift[1] != 0) image = shifted(image, draw.pixel_shift);
  if (draw.moves_between_pixels()) image = (*resampler_)(image, geometry_of(options_, draw, image_size_));
  if (draw.changes_colour()) image = recoloured(image, colour_of(options_, draw));
  return image;
}

Augmented EdmAugmentation::apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const {
  const bool fits = images.dim() == 4 && images.size(0) == std::ssize(seeds) && images.size(2) == image_size_ &&
                    images.size(3) == image_size_;
  if (!fits) {
    throw Error(text("the augmentation takes images [", seeds.size(), ", C, ", image_size_, ", ", image_size_,
                     "], one per seed, got ", images.sizes()));
  }
  Augmented result;
  std::vector<double> labels;
  std::vector<Tensor> transformed_images;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    const ImageDraw draw = draw_image(options_, seeds[i], image_size_);
    transformed_images.push_back(transformed(images[static_cast<std::int64_t>(i)], draw));
    for (const double label : labels_of(options_, draw, image_size_)) labels.push_back(label);
  }
  result.images = at::stack(transformed_images);
  if (label_size_ > 0) result.labels = like(at::tensor(labels, at::kDouble).view({-1, label_size_}), images);
  return result;
}

}  // namespace casdm::augmentation_edm
