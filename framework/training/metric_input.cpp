#include "framework/training/metric_input.h"

#include <ATen/ATen.h>

#include "casdm/random.h"
#include "casdm/resize.h"

namespace casdm {

namespace {

Tensor cut(const Tensor& images, std::int64_t size, const CropPlaces& places) {
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Tensor image = images[static_cast<std::int64_t>(i)];
    parts.push_back(image.narrow(1, places[i][0], size).narrow(2, places[i][1], size));
  }
  return at::stack(parts);
}

}  // namespace

std::int64_t metric_image_size(const MetricOptions& options, std::int64_t image_size) {
  if (options.resize > 0) return options.resize;
  return options.crop > 0 ? options.crop : image_size;
}

CropPlaces crop_places(const MetricOptions& options, const std::string& name, const Tensor& images,
                       const std::vector<std::uint64_t>& seeds) {
  const std::array<std::int64_t, 2> room = {images.size(2) - options.crop, images.size(3) - options.crop};
  if (options.crop == 0 || (room[0] == 0 && room[1] == 0)) return {};
  if (seeds.empty()) return CropPlaces(static_cast<std::size_t>(images.size(0)), {room[0] / 2, room[1] / 2});
  CropPlaces places;
  for (const std::uint64_t seed : seeds) {
    std::array<std::int64_t, 2> place{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const double u = uniform(derive_seed(seed, "crop/" + name, axis));
      place[axis] = static_cast<std::int64_t>(u * static_cast<double>(room[axis] + 1));
    }
    places.push_back(place);
  }
  return places;
}

Tensor metric_input(const Tensor& images, const MetricOptions& options, const CropPlaces& places) {
  Tensor image = places.empty() ? images : cut(images, options.crop, places);
  const std::int64_t size = options.resize;
  if (size > 0 && image.size(-1) != size) image = resized(image, size, size, Interpolation::bilinear);
  const auto [low, high] = options.input_range;
  if (low == -1 && high == 1) return image;
  return (image + 1) * ((high - low) / 2) + low;
}

}  // namespace casdm
