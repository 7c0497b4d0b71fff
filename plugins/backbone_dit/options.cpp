#include "options.h"

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dit {

void DitOptions::describe(Schema<DitOptions>& s) {
  s.option("patch", &DitOptions::patch,
           "Side of the square patches that are the tokens. It divides height and width; attention costs the square of "
           "the number of patches.")
      .range(1, 32)
      .in_unit("pixels");
  s.option("width", &DitOptions::width, "Numbers per token; a multiple of 4 and of num_heads.").range(4, 1 << 16);
  s.option("depth", &DitOptions::depth, "Number of blocks.").range(1, 1000);
  s.option("num_heads", &DitOptions::num_heads, "Attention heads; they divide the width.").range(1, 1 << 16);
  s.option("mlp_ratio", &DitOptions::mlp_ratio, "Width of the MLPs' hidden layers, as a multiple of `width`.")
      .greater_than(0);
  s.option(
       "bottleneck", &DitOptions::bottleneck,
       "A patch is first reduced to this many numbers, then widened to `width`: for large patches of pixels. 0: one "
       "linear map.")
      .range(0, 1 << 16);
  s.option("skips", &DitOptions::skips,
           "Each block of the second half also gets the input of its counterpart in the first, joined by a linear "
           "layer (U-ViT).");
  s.option("dropout", &DitOptions::dropout,
           "Probability of dropping a number that attention or an MLP adds, in training.")
      .range(0, 1)
      .less_than(1);
  s.option(
      "time_frequencies", &DitOptions::time_frequencies,
      "Of the 128 sines and cosines that embed the time: 10000^(-i/128) as in DiT, or 10000^(-i/127) as diffusers' "
      "DiTTransformer2DModel computes. The weights do not show which one a network was trained with.");
  s.option(
       "mlp_norm_eps", &DitOptions::mlp_norm_eps,
       "Added to the variance in the norm before each MLP. diffusers' conversions of DiT have 1e-5; all other norms "
       "have 1e-6.")
      .greater_than(0);
}

std::int64_t hidden_width(const DitOptions& options) {
  return std::llround(static_cast<double>(options.width) * options.mlp_ratio);
}

void check(const DitOptions& o, const Backbone::Spec& spec) {
  const ImageShape& image = spec.image;
  if (o.patch < 1 || image.height % o.patch != 0 || image.width % o.patch != 0) {
    throw ConfigError(text("patch = ", o.patch, " does not divide images of ", image.height, " x ", image.width,
                           " pixels: choose a divisor of both"));
  }
  if (o.num_heads < 1 || o.width % o.num_heads != 0) {
    throw ConfigError(text("num_heads = ", o.num_heads, " does not divide width = ", o.width, ": choose a divisor"));
  }
  if (o.width % 4 != 0) {
    throw ConfigError(text("width = ", o.width,
                           ": expected a multiple of 4, for the sines and cosines of the two coordinates of a patch"));
  }
  if (!(o.mlp_ratio * static_cast<double>(o.width) >= 1) || o.mlp_ratio > 1024) {
    throw ConfigError(text("mlp_ratio = ", number(o.mlp_ratio), " times width = ", o.width,
                           " leaves no sensible hidden layer; it is usually 4"));
  }
}

}  // namespace casdm::dit
