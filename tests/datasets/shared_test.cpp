#include <doctest/doctest.h>

#include <array>
#include <set>

#include "casdm/dataset.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::shared_ptr<Dataset> open(const std::string& type, const std::filesystem::path& path,
                              const std::string& more = "") {
  return make<Dataset>(type, "path = \"" + path.string() + "\"\n" + more, {ImageShape::square(3, 32)});
}

}  // namespace

TEST_CASE("the real CIFAR-10 has its 50,000 and 10,000 labelled images") {
  const auto shared = shared_dir();
  if (!shared) {
    MESSAGE("skipped: there is no shared folder with CIFAR-10 beside the source tree");
    return;
  }
  const auto path = *shared / "data" / "cifar10-jpeg.tar.gz";
  const auto train = open("cifar10", path), test = open("cifar10", path, "split = \"test\"");
  REQUIRE(train->size() == 50000);
  REQUIRE(test->size() == 10000);
  std::array<std::int64_t, 10> counts{};
  for (std::int64_t i = 0; i < test->size(); ++i) {
    const Example example = test->get(i);
    REQUIRE(example.image.width == 32);
    REQUIRE(example.image.height == 32);
    ++counts.at(static_cast<std::size_t>(example.label));
  }
  CHECK(counts == std::array<std::int64_t, 10>{1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000});
  CHECK(train->get(0).label == 0);
  CHECK(train->get(49999).label == 9);
  CHECK(train->describe(5000).ends_with("train/automobile/0000.jpg"));
}

TEST_CASE("the emoji of the examples all decode") {
  const auto dataset = open("zip", source_dir() / "examples" / "data" / "emoji32.zip");
  REQUIRE(dataset->size() == 1419);
  CHECK(dataset->num_classes() == 0);
  for (std::int64_t i = 0; i < dataset->size(); ++i) {
    const Image image = dataset->get(i).image;
    REQUIRE(image.width == 32);
    REQUIRE(image.pixels.size() == 32 * 32 * 3);
  }
}
