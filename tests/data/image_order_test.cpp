#include "framework/data/image_order.h"

#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/random.h"

using namespace casdm;

TEST_CASE("each position has its image, in whatever order positions are requested") {
  ImageOrder order(7, 42);
  // From epoch 20 back to 0 and up again: more epochs than are cached.
  for (const std::int64_t epoch : {20, 3, 0, 1, 2, 20}) {
    const std::vector<std::int64_t> expected =
        permutation(7, derive_seed(42, "order", static_cast<std::uint64_t>(epoch)));
    for (std::int64_t i = 6; i >= 0; --i) CHECK(order.index_at(epoch * 7 + i) == expected[static_cast<std::size_t>(i)]);
  }
}

TEST_CASE("a data set of one image yields it forever") {
  ImageOrder order(1, 3);
  CHECK(order.index_at(0) == 0);
  CHECK(order.index_at(std::int64_t{1} << 40) == 0);
}

TEST_CASE("an order too large for memory is an error with the number of images") {
  ImageOrder order(std::int64_t{1} << 62, 3);
  for (int time = 0; time < 2; ++time) {
    CHECK_THROWS_WITH_AS(order.index_at(0),
                         "there is not enough memory for the order of 4611686018427387904 images, which takes 8 bytes "
                         "for each",
                         Error);
  }
}
