#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "augmentations/edm.h"
#include "casdm/error.h"

namespace casdm {
namespace {

using namespace testing;

constexpr std::int64_t kCount = 64;

Tensor noise(std::int64_t count = kCount, std::int64_t size = 16, std::int64_t channels = 3) {
  return fill(3, {count, channels, size, size});
}

Augmented augmented(const std::string& options, const Tensor& images) {
  return edm(options, images.size(2), images.size(1))->apply(images, image_seeds(images.size(0)));
}

std::string without(std::string options, const std::string& key) {
  const std::size_t at = options.find(key + " = ");
  return options.erase(at, options.find('\n', at) + 1 - at);
}

/// kNothing with `key` = 1 and `more`.
std::string certain(const std::string& key, const std::string& more = "") {
  std::string options = kNothing;
  if (options.find("\n" + key + " = ") != std::string::npos) options = without(options, key);
  return options + key + " = 1\n" + more;
}

/// A smooth image: a few waves that pass the resampling filters unchanged.
Tensor waves(const Tensor& x, const Tensor& y) {
  return at::cos(0.3 * x + 0.2 * y + 0.4) + 0.5 * at::sin(0.25 * x - 0.35 * y);
}

struct Places {
  explicit Places(std::int64_t size) {
    const Tensor place = at::arange(size, at::kDouble) - static_cast<double>(size - 1) / 2;
    x = place.unsqueeze(0).expand({size, size});
    y = place.unsqueeze(1).expand({size, size});
  }
  Tensor x, y;
};

/// Largest difference away from the mirrored border.
double inner_difference(const Tensor& a, const Tensor& b, std::int64_t margin) {
  const auto inner = [&](const Tensor& t) {
    return t.narrow(-1, margin, t.size(-1) - 2 * margin).narrow(-2, margin, t.size(-2) - 2 * margin);
  };
  return (inner(a) - inner(b)).abs().max().item<double>();
}

}  // namespace

TEST_CASE("at p = 0 images stay bit for bit and all labels are 0") {
  const Augmented result = augmented("p = 0.0", noise());
  CHECK(at::equal(result.images, noise()));
  CHECK(result.labels.sizes() == at::IntArrayRef({kCount, 9}));
  CHECK(result.labels.abs().max().item<double>() == 0);
}

TEST_CASE("with EDM's options there are nine labels, and images with none set are untouched") {
  const Tensor x = noise(256);
  const Augmented result = augmented("", x);
  REQUIRE(result.labels.size(1) == 9);
  int untouched = 0;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    const bool is_untouched = result.labels[i].abs().max().item<double>() == 0;
    CHECK(is_untouched == at::equal(result.images[i], x[i]));
    untouched += is_untouched ? 1 : 0;
  }
  // 1/2 (no xflip) * .94 (no yflip) * .88^4 = .2818 of 256, within 4 standard deviations.
  CHECK(untouched > 72 - 29);
  CHECK(untouched < 72 + 29);
}

TEST_CASE("a flip mirrors half of the images, and its label says which") {
  for (const auto& [key, dimension] : {std::pair{"xflip", 3}, {"yflip", 2}}) {
    const Augmented result = augmented(certain(key), noise());
    REQUIRE(result.labels.size(1) == 1);
    const Tensor expected = at::where(result.labels.view({-1, 1, 1, 1}) == 1, noise().flip({dimension}), noise());
    CHECK(at::equal(result.images, expected));
    CHECK(std::abs(result.labels.mean().item<double>() - 0.5) < 4 * 0.5 / std::sqrt(kCount));
  }
}

TEST_CASE("whole turns are exact and equally likely, and two labels describe them") {
  const Augmented result = augmented(certain("rotate_int"), noise());
  std::array<int, 4> seen{};
  for (std::int64_t i = 0; i < kCount; ++i) {
    const double a = result.labels[i][0].item<double>();
    const double b = result.labels[i][1].item<double>();
    const std::int64_t turns = a == 1 ? (b == 1 ? 2 : 1) : (b == 1 ? 3 : 0);
    CHECK(at::equal(result.images[i], at::rot90(noise()[i], turns, {1, 2})));
    ++seen[static_cast<std::size_t>(turns)];
  }
  for (const int count : seen) CHECK(std::abs(count - 16) < 14);  // 4 standard deviations of 64 draws
}

TEST_CASE("a shift by whole pixels is exact, with mirrored borders") {
  const Augmented result = augmented(certain("translate_int", "translate_int_max = 0.25\n"), noise());
  for (std::int64_t i = 0; i < kCount; ++i) {
    const auto right = std::lround(result.labels[i][0].item<double>() * 4);
    const auto up = std::lround(result.labels[i][1].item<double>() * 4);
    CHECK(std::abs(right) <= 4);
    const Tensor padded = at::reflection_pad2d(noise()[i], {4, 4, 4, 4});
    CHECK(at::equal(result.images[i], padded.narrow(1, 4 + up, 16).narrow(2, 4 - right, 16)));
  }
}

TEST_CASE("resampling without a change returns the pixels: the filters are orthogonal") {
  const Augmented result = augmented(certain("scale", "scale_std = 0.0\n"), noise());
  CHECK((result.images - noise()).abs().max().item<double>() < 1e-5);
}

TEST_CASE("geometry moves a smooth image as its labels say") {
  constexpr std::int64_t kSize = 64;
  const Places here(kSize);
  const Tensor image = waves(here.x, here.y).to(at::kFloat).expand({8, 1, kSize, kSize});
  struct Case {
    const char* key;
    const char* more;
  };
  for (const Case& c : {Case{"scale", "scale_std = 0.1\n"},
                        {"rotate_frac", "rotate_frac_max = 0.2\n"},
                        {"translate_frac", "translate_frac_std = 0.03\n"},
                        {"aniso", "aniso_std = 0.1\naniso_rotate_prob = 0.0\n"}}) {
    const Augmented result = augmented(certain(c.key, c.more), image);
    for (std::int64_t i = 0; i < 8; ++i) {
      const double a = result.labels[i][0].item<double>();
      const double b = result.labels.size(1) > 1 ? result.labels[i][1].item<double>() : 0;
      Tensor x = here.x;
      Tensor y = here.y;
      if (c.key == std::string("scale")) {
        x = x / std::exp2(0.1 * a);
        y = y / std::exp2(0.1 * a);
      } else if (c.key == std::string("rotate_frac")) {
        x = (a + 1) * here.x - b * here.y;
        y = b * here.x + (a + 1) * here.y;
      } else if (c.key == std::string("translate_frac")) {
        x = x - a * 0.03 * kSize;
        y = y - b * 0.03 * kSize;
      } else {
        CHECK(b == 0);
        x = x / std::exp2(0.1 * a);
        y = y * std::exp2(0.1 * a);
      }
      // The error of bilinear sampling at twice the resolution for these waves.
      CHECK_MESSAGE(inner_difference(result.images[i][0].to(at::kDouble), waves(x, y), 20) < 0.02, c.key);
    }
  }
}

TEST_CASE("an oblique stretch is a turn, a stretch and the turn back") {
  constexpr std::int64_t kSize = 64;
  const Places here(kSize);
  const Tensor image = waves(here.x, here.y).to(at::kFloat).expand({8, 1, kSize, kSize});
  const Augmented result = augmented(certain("aniso", "aniso_std = 0.1\naniso_rotate_prob = 1.0\n"), image);
  for (std::int64_t i = 0; i < 8; ++i) {
    const double a = result.labels[i][0].item<double>();
    const double b = result.labels[i][1].item<double>();
    double smallest = 1;
    // The labels w cos r, w sin r do not determine the sign of w: (w, r) and (-w, r + pi) have the same labels.
    for (const double w : {std::hypot(a, b), -std::hypot(a, b)}) {
      const double c = a / w;
      const double s = b / w;
      const Tensor along = (c * here.x - s * here.y) / std::exp2(0.1 * w);
      const Tensor across = (s * here.x + c * here.y) * std::exp2(0.1 * w);
      const Tensor expected = waves(c * along + s * across, -s * along + c * across);
      smallest = std::min(smallest, inner_difference(result.images[i][0].to(at::kDouble), expected, 20));
    }
    CHECK(smallest < 0.02);
  }
}

TEST_CASE("colours change as their labels say") {
  const Tensor x = noise(8);
  const Tensor grey = x.mean(1, /*keepdim=*/true);
  const auto label = [](const Augmented& result) { return result.labels.select(1, 0).view({-1, 1, 1, 1}); };

  const Augmented brightness = augmented(certain("brightness"), x);
  CHECK(max_relative_difference(brightness.images, x + 0.2 * label(brightness)) < 1e-6);
  const Augmented contrast = augmented(certain("contrast"), x);
  CHECK(max_relative_difference(contrast.images, x * at::exp2(0.5 * label(contrast))) < 1e-6);
  const Augmented lumaflip = augmented(certain("lumaflip"), x);
  CHECK(max_relative_difference(lumaflip.images, x - 2 * grey * label(lumaflip)) < 1e-6);
  const Augmented saturation = augmented(certain("saturation"), x);
  CHECK(max_relative_difference(saturation.images, grey + (x - grey) * at::exp2(label(saturation))) < 1e-6);

  const Augmented hue = augmented(certain("hue"), x);
  const Tensor c = label(hue) + 1;
  const Tensor s = hue.labels.select(1, 1).view({-1, 1, 1, 1});
  // Across the grey axis n, a colour v turns to c v + s n x v.
  const Tensor across = (x.roll({1}, {1}) - x.roll({-1}, {1})) / std::sqrt(3.0);
  CHECK(max_relative_difference(hue.images, grey + c * (x - grey) + s * across) < 1e-5);
}

TEST_CASE("the result for an image depends only on its own seed, whatever the batch") {
  const Tensor x = noise();
  const std::vector<std::uint64_t> seeds = image_seeds(kCount);
  const auto augmentation = edm("p = 0.7\nrotate_int = 1\ntranslate_int = 1\nhue = 1\n");
  const Augmented together = augmentation->apply(x, seeds);
  for (std::int64_t i = 0; i < kCount; ++i) {
    const Augmented alone = augmentation->apply(x.narrow(0, i, 1), {seeds[static_cast<std::size_t>(i)]});
    CHECK(at::equal(alone.images[0], together.images[i]));
    CHECK(at::equal(alone.labels[0], together.labels[i]));
  }
}

TEST_CASE("each transformation has its own draws, so adding one does not change the others") {
  const Augmented few = augmented(certain("scale"), noise());
  const Augmented more = augmented("p = 1.0\nxflip = 0\nyflip = 1\n", noise());
  CHECK(at::equal(few.labels.select(1, 0), more.labels.select(1, 1)));
}

TEST_CASE("the number of seeds and the size of the images must match") {
  CHECK_THROWS_WITH_AS(edm("", 16)->apply(noise(2, 8), image_seeds(2)), doctest::Contains("got [2, 3, 8, 8]"), Error);
  CHECK_THROWS_WITH_AS(edm("", 16)->apply(noise(2), image_seeds(3)), doctest::Contains("one per seed"), Error);
  CHECK_THROWS_WITH_AS(edm("hue = 1", 16, 2), doctest::Contains("3 channels (RGB) or 1"), ConfigError);
}

TEST_CASE("images of one or two pixels survive every transformation") {
  for (const std::int64_t size : {1, 2}) {
    const Augmented result = augmented("p = 1.0\nrotate_int = 1\ntranslate_int = 1\n", noise(8, size));
    CHECK(result.images.isfinite().all().item<bool>());
  }
}

}  // namespace casdm
