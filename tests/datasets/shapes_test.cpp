#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::shared_ptr<Dataset> shapes(const std::string& options, std::int64_t size = 32, std::int64_t channels = 3) {
  return make<Dataset>("shapes", options, {ImageShape::square(channels, size)});
}

/// The coverage of a form on white as a fraction of the image, summed over the channel it changes most.
double covered(const Image& image) {
  double best = 0;
  for (std::int64_t c = 0; c < 3; ++c) {
    double sum = 0;
    int darkest = 255;
    for (std::size_t i = static_cast<std::size_t>(c); i < image.pixels.size(); i += 3) {
      sum += 255 - image.pixels[i];
      darkest = std::min<int>(darkest, image.pixels[i]);
    }
    if (255 - darkest > 100) best = sum / (255 - darkest) / static_cast<double>(image.width * image.height);
  }
  return best;
}

}  // namespace

TEST_CASE("shapes are a function of seed and index alone") {
  const auto first = shapes("num_images = 100"), again = shapes("num_images = 20"), other = shapes("seed = 1");
  CHECK(first->size() == 100);
  CHECK(first->get(7).image.pixels == again->get(7).image.pixels);
  CHECK(first->get(7).image.pixels != first->get(8).image.pixels);
  CHECK(first->get(7).image.pixels != other->get(7).image.pixels);
}

TEST_CASE("every form occurs, and the label is its place in the list") {
  const auto dataset = shapes("forms = [\"circle\", \"cross\", \"ring\"]");
  CHECK(dataset->num_classes() == 3);
  std::set<std::int64_t> labels;
  for (std::int64_t i = 0; i < 50; ++i) labels.insert(dataset->get(i).label);
  CHECK(labels == std::set<std::int64_t>{0, 1, 2});
}

TEST_CASE("an image shows the same at two sizes, and covers the area given by its form's formula") {
  // Areas over r^2, of forms in a circle of radius r.
  const double r_square[] = {M_PI, 2.0, 3 * std::sqrt(3.0) / 4, M_PI * 0.75, 4 * (2 * 0.94 * 0.3) - 4 * 0.09};
  const char* const forms[] = {"circle", "square", "triangle", "ring", "cross"};
  for (int form = 0; form < 5; ++form) {
    const std::string options = std::string("forms = [\"") + forms[form] + "\"]";
    const auto small = shapes(options, 64), large = shapes(options, 256), circle = shapes("forms = [\"circle\"]", 256);
    for (std::int64_t i = 0; i < 10; ++i) {
      const double area = covered(large->get(i).image);
      // One pixel of 1/64 along an edge of length about 2 has an error of at most a tenth of its value.
      CHECK(covered(small->get(i).image) == doctest::Approx(area).epsilon(0.02));
      // The same index has the same radius whatever the form.
      CHECK(area / covered(circle->get(i).image) == doctest::Approx(r_square[form] / M_PI).epsilon(0.02));
    }
  }
}

TEST_CASE("edges are anti-aliased") {
  const Image image = shapes("forms = [\"circle\"]\nbackground = \"black\"", 32, 1)->get(3).image;
  CHECK(image.channels == 1);
  CHECK(std::set<std::uint8_t>(image.pixels.begin(), image.pixels.end()).size() > 10);
}

TEST_CASE("unknown, repeated or missing forms are refused") {
  std::string message = message_of<ConfigError>([] { shapes("forms = [\"blob\"]"); });
  CHECK_MESSAGE(message.find("'blob' is not one of circle, square, triangle, ring, cross") != std::string::npos,
                message);
  CHECK_THROWS_AS(shapes("forms = [\"circle\", \"circle\"]"), ConfigError);
  CHECK_THROWS_AS(shapes("forms = []"), ConfigError);
}
