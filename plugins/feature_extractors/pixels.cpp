#include "pixels.h"

#include <ATen/ATen.h>

#include "images.h"
#include "resampling.h"

namespace casdm::feature_extractors {

void PixelsOptions::describe(Schema<PixelsOptions>& s) {
  s.option("size", &PixelsOptions::size, "Height and width that images are resized to first; 0: no resize.")
      .range(0, 4096)
      .in_unit("pixels");
  s.option("resize", &PixelsOptions::resize, "How images are resized.")
      .choices({"bicubic_antialias", "bilinear", "tf1_bilinear"})
      .not_with("size", {0});
}

Pixels::Pixels(const Options& options, const Spec& spec)
    : image_(options.size > 0 ? ImageShape::square(spec.image.channels, options.size) : spec.image),
      size_(options.size),
      resize_(options.size > 0 ? resize_method(options.resize) : ExtractorResize::none) {}

ExtractorInfo Pixels::info() const {
  return {
      .features = {{"flat", image_.channels * image_.height * image_.width, false}, {"spatial", image_.channels, true}},
      .input_size = size_,
      .resize = resize_,
      .channels = image_.channels};
}

NamedTensors Pixels::extract(const Tensor& images, const std::vector<std::string>& names) {
  Tensor x = as_numbers(images);
  if (size_ > 0) x = resized(x, size_, resize_);
  NamedTensors result;
  for (const std::string& name : names) result.emplace_back(name, name == "flat" ? x.flatten(1) : x);
  return result;
}

}  // namespace casdm::feature_extractors
