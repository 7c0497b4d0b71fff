#include <ATen/autocast_mode.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "extractors/extractors.h"

namespace casdm {
namespace {

using namespace testing;
using doctest::Approx;

TEST_CASE("pixels are the pixels, whether bytes or floats") {
  const auto extractor = make_extractor("pixels", 4);
  const Tensor bytes = at::arange(96, at::kByte).view({2, 3, 4, 4});
  const Tensor expected = bytes.to(at::kFloat) / 127.5 - 1;
  CHECK(at::equal(feature(*extractor, bytes, "flat"), expected.flatten(1)));
  CHECK(at::equal(feature(*extractor, expected, "spatial"), expected));
  CHECK(extractor->info().features[0].dimension == 48);
}

TEST_CASE("resizing keeps an image of a single colour, and a ramp stays a ramp") {
  const auto extractor = make_extractor("pixels", 32, "size = 8", 1);
  CHECK(extractor->info().features[0].dimension == 64);
  const Tensor grey = at::full({1, 1, 32, 32}, 0.25F);
  CHECK(largest_difference(feature(*extractor, grey, "flat"), at::full({1, 64}, 0.25F)) < 1e-6);
  const Tensor ramp = at::arange(32, at::kFloat).expand({1, 1, 32, 32});
  // Four pixels become one with their mean; at the edges the filter is cut off.
  const Tensor inside = feature(*extractor, ramp, "spatial")[0][0][0].narrow(0, 2, 4);
  CHECK(largest_difference(inside, 4 * at::arange(2, 6, at::kFloat) + 1.5) < 1e-5);
}

TEST_CASE("images are resized in their own precision under autocast") {
  const auto extractor = make_extractor("pixels", 32, "size = 8", 1);
  const Tensor images = fill(1, {1, 1, 32, 32});
  const Tensor expected = feature(*extractor, images, "flat");
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const Tensor features = feature(*extractor, images, "flat");
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  CHECK(at::equal(features, expected));
}

TEST_CASE("features of random patches approximate a Gaussian kernel on patches") {
  const auto extractor = make_extractor("random_patches", 5, "features = 16384\nscales = 1\nbandwidth = 0.7");
  const Tensor a = fill(1, {1, 3, 5, 5}), b = (a + 0.6 * fill(2, {1, 3, 5, 5})).to(at::kFloat);
  const auto similarity = [&](const Tensor& x, const Tensor& y) {
    return (feature(*extractor, x, "pooled") * feature(*extractor, y, "pooled")).mean().item<double>();
  };
  const double squared = (a - b).square().mean().item<double>();
  // 16,384 features: the error of the mean of products of deviation about 1 is 0.008
  CHECK(std::abs(similarity(a, b) - std::exp(-squared / (2 * 0.7 * 0.7))) < 0.03);
  CHECK(std::abs(similarity(a, a) - 1) < 0.03);
}

TEST_CASE("random patches describe which patches there are, not where, and are drawn from the seed") {
  const auto extractor = make_extractor("random_patches", 16, "scales = 1");
  Tensor image = at::zeros({1, 3, 16, 16}), moved = at::zeros({1, 3, 16, 16});
  image.narrow(2, 5, 2).narrow(3, 5, 2).fill_(1);
  moved.narrow(2, 8, 2).narrow(3, 7, 2).fill_(1);
  CHECK(largest_difference(feature(*extractor, image, "pooled"), feature(*extractor, moved, "pooled")) < 1e-6);
  const auto other = make_extractor("random_patches", 16, "scales = 1", 3, 1);
  CHECK(largest_difference(feature(*extractor, image, "pooled"), feature(*other, image, "pooled")) > 0.1);
  CHECK(make_extractor("random_patches", 16, "scales = 8")->info().features[0].dimension == 2 * 256);
  CHECK_THROWS_WITH_AS(make_extractor("random_patches", 4), doctest::Contains("does not fit into images of 4 x 4"),
                       ConfigError);
}

TEST_CASE("a network reports inputs it does not support, and where its weights come from") {
  CHECK_THROWS_WITH_AS(make_extractor("efficientnet_lite0", 32, "", 4), doctest::Contains("RGB (3) or grey (1)"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(make_extractor("efficientnet_lite0", 32, "weights = \"absent.safetensors\""),
                       doctest::Contains("convert_weights.py efficientnet-lite"), Error);
  CHECK_THROWS_WITH_AS(make_extractor("efficientnet_lite1", 32, "weights = \"efficientnet_lite0.safetensors\""),
                       doctest::Contains("efficientnet_lite1 has 21 blocks"), Error);
  CHECK_THROWS_WITH_AS(make_extractor("efficientnet_lite1", 32, "weights = \"efficientnet_lite2.safetensors\""),
                       doctest::Contains("has 320 channels, this one 352"), Error);
}

TEST_CASE("each EfficientNet-Lite resizes images to the size that it was trained on") {
  CHECK(make_extractor("efficientnet_lite0", 32)->info().input_size == 224);
  CHECK(make_extractor("efficientnet_lite1", 32)->info().input_size == 240);
  CHECK(make_extractor("efficientnet_lite2", 32)->info().input_size == 260);
}

TEST_CASE("a judge identifies its weights by their hash") {
  const ExtractorInfo info = make_extractor("efficientnet_lite0", 32)->info();
  CHECK(info.weights.size() == 64);
  CHECK(info.licence == "Apache-2.0");
  CHECK(info.resize == ExtractorResize::bicubic_antialias);
  CHECK(info.input_size == 224);
}

TEST_CASE("a grey image gives the same features as with three equal channels") {
  const Tensor grey = fill(1, {1, 1, 32, 32});
  for (const char* type : {"efficientnet_lite0", "alexnet"}) {
    const Tensor seen = feature(*make_extractor(type, 32, "", 1), grey, "pooled");
    const Tensor in_colour = feature(*make_extractor(type, 32), grey.expand({1, 3, 32, 32}), "pooled");
    CHECK_MESSAGE(max_relative_difference(seen, in_colour) < 1e-5, type);
  }
}

TEST_CASE("the trunks' last tap is pooled, and the trunks are those of the metrics") {
  const Tensor images = fill(1, {2, 3, 32, 32});
  for (const auto& [net, last] : {std::pair<const char*, const char*>{"vgg16", "relu5_3"}, {"alexnet", "relu5"}}) {
    const auto trunk = make_extractor(net, 32);
    CHECK(largest_difference(feature(*trunk, images, "pooled"), feature(*trunk, images, last).mean({2, 3})) < 1e-6);
    CHECK(trunk->info().licence == "BSD-2-Clause");
  }
  CHECK_THROWS_WITH_AS(make_extractor("vgg16", 8), doctest::Contains("at least 16 px, these have 8 x 8"), ConfigError);
}

TEST_CASE("a size that is not a multiple of the patch is refused with the nearest ones that are") {
  CHECK_THROWS_WITH_AS(make_extractor("dinov2", 32, "size = 100"), doctest::Contains("the next ones are 98 and 112"),
                       ConfigError);
}

TEST_CASE("weights of another network are refused by name") {
  CHECK_THROWS_WITH_AS(make_extractor("inception", 32, "weights = \"efficientnet_lite0.safetensors\""),
                       doctest::Contains("Conv2d_1a_3x3.conv.weight"), Error);
  CHECK_THROWS_WITH_AS(make_extractor("dinov2", 32, "weights = \"efficientnet_lite0.safetensors\""),
                       doctest::Contains("cls_token"), Error);
  CHECK_THROWS_WITH_AS(make_extractor("vgg16", 32, "weights = \"st_lpips_alexnet.safetensors\""),
                       doctest::Contains("net.slice1.0.weight"), Error);
}

}  // namespace
}  // namespace casdm
