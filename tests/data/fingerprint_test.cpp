#include "framework/data/fingerprint.h"

#include <doctest/doctest.h>

#include "casdm/error.h"

using namespace casdm;

namespace {

/// Images of these names, none of which can be read.
class Named : public Dataset {
 public:
  Named(std::string place, std::vector<std::string> names, std::int64_t classes = 0)
      : place_(std::move(place)), names_(std::move(names)), classes_(classes) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  std::int64_t num_classes() const override { return classes_; }
  std::string describe(std::int64_t index) const override {
    return place_ + names_.at(static_cast<std::size_t>(index));
  }
  Example get(std::int64_t) const override { throw Error("nothing is decoded for a fingerprint"); }

 private:
  std::string place_;
  std::vector<std::string> names_;
  std::int64_t classes_;
};

const std::vector<std::string> kNames = {"cat/1.png", "cat/2.png", "dog/1.png"};

DataFingerprint of(const Dataset& dataset, std::int64_t image_size = 32) {
  DataOptions options;
  options.image_size = image_size;
  return fingerprint(dataset, options);
}

}  // namespace

TEST_CASE("a data set that is moved or packed keeps its fingerprint") {
  const DataFingerprint here = of(Named("images/", kNames, 2));
  CHECK(here.count == 3);
  CHECK(here.classes == 2);
  CHECK(here.shape == std::array<std::int64_t, 3>{3, 32, 32});
  CHECK(here.hash.size() == 16);
  CHECK(of(Named("/mnt/other/images/", kNames, 2)) == here);
  CHECK(of(Named("images.zip:", kNames, 2)) == here);
  CHECK(difference(here, here).empty());
}

TEST_CASE(
    "an image more, less, renamed or elsewhere in the order changes the fingerprint, and the difference says how") {
  const DataFingerprint before = of(Named("images/", kNames, 2));
  CHECK(difference(before, of(Named("images/", {"cat/1.png", "cat/2.png"}, 2))) ==
        "the data are not those of the checkpoint: 2 images instead of 3");
  const char* other_names = "the data are not those of the checkpoint: the same number of images, but of other names";
  CHECK(difference(before, of(Named("images/", {"cat/1.png", "cat/3.png", "dog/1.png"}, 2))) == other_names);
  CHECK(difference(before, of(Named("images/", {"cat/2.png", "cat/1.png", "dog/1.png"}, 2))) == other_names);
  CHECK(difference(before, of(Named("images/", kNames, 3), 64)) ==
        "the data are not those of the checkpoint: 3 classes instead of 2, 64 x 64 pixels in 3 channels instead of "
        "32 x 32 pixels in 3 channels");
}

TEST_CASE("a fingerprint survives its Value, and a damaged one is refused") {
  const DataFingerprint data = of(Named("images/", kNames, 2));
  const Value value = to_value(data);
  CHECK(fingerprint_from(value) == data);
  for (const char* key : {"count", "classes", "shape", "hash"}) {
    Value damaged = value;
    damaged.set(key, -1);
    CHECK_THROWS_AS_MESSAGE(fingerprint_from(damaged), Error, key);
  }
  CHECK_THROWS_AS(fingerprint_from(Value{Value::Table{}}), Error);
}
