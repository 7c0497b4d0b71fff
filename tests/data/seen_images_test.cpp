#include "framework/data/seen_images.h"

#include <doctest/doctest.h>

#include <cstdio>

#include "casdm/error.h"
#include "casdm/text.h"

using namespace casdm;

namespace {

/// The images first, first + 1, ... of one folder.
SeenImages numbered(std::int64_t first, std::int64_t count, const std::string& folder = "/data/") {
  return seen_images(count, [&](std::int64_t i) { return text(folder, first + i, ".png"); });
}

}  // namespace

TEST_CASE("a reference that holds a part of the images of the training is remarked on with their number") {
  const SeenImages seen = numbered(0, 100);
  CHECK(remark_on(seen, numbered(100, 20), "test").empty());
  CHECK(remark_on(seen, numbered(90, 20), "test.toml")
            .starts_with("the run was trained with 10 of the 20 images of the reference, test.toml: "));
  CHECK(remark_on(seen, numbered(0, 50), "test").starts_with("the run was trained with 50 of the 50 images"));
  // Images of these names elsewhere, and all images of the training.
  CHECK(remark_on(seen, numbered(0, 50, "/other/"), "test").empty());
  CHECK(remark_on(seen, numbered(0, 100), "test").empty());
  CHECK(remark_on(seen, numbered(0, 150), "test").empty());
  CHECK(remark_on({}, seen, "test").empty());
}

TEST_CASE("of large sets a like portion of the shared images is looked up") {
  constexpr std::int64_t kTraining = 90'000, kReference = 10'000;
  const SeenImages seen = numbered(0, kTraining);
  CHECK(seen.hashes.size() == SeenImages::kMost);
  CHECK(remark_on(seen, numbered(kTraining, kReference), "test").empty());
  const std::string remark = remark_on(seen, numbered(kTraining - kReference / 2, kReference), "test");
  std::int64_t both = 0, judged = 0;
  REQUIRE(std::sscanf(remark.c_str(), "the run was trained with images of the reference, test, %ld of the %ld that",
                      &both, &judged) == 2);
  // About 1024 / 9 are looked up, and half of them were seen; the bounds are five standard deviations.
  CHECK(judged == doctest::Approx(1024.0 / 9).epsilon(0.5));
  CHECK(2 * both == doctest::Approx(judged).epsilon(0.5));
  CHECK(remark_on(seen, numbered(0, kTraining + kReference), "test").empty());
}

TEST_CASE("images of two trainings are remembered together, and images without a path not at all") {
  const SeenImages both = merged(numbered(0, 10), numbered(5, 10));
  CHECK(both.hashes == numbered(0, 15).hashes);
  CHECK(merged(numbered(0, 5000), numbered(5000, 5000)).hashes == numbered(0, 10000).hashes);
  CHECK(numbered(0, 10, "shapes ").hashes.empty());
}

TEST_CASE("images of the training come back from their record, and another record is refused") {
  const SeenImages seen = numbered(0, 3);
  CHECK(seen_images_from(to_value(seen)).hashes == seen.hashes);
  CHECK_THROWS_AS(seen_images_from(Value("0123")), Error);
  CHECK_THROWS_AS(seen_images_from(Value(3)), Error);
}
