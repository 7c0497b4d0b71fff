#include "framework/data/fingerprint.h"

#include <doctest/doctest.h>

#include "casdm/error.h"

using namespace casdm;

namespace {

/// Images with these names, none of which can be read.
class Named : public Dataset {
 public:
  Named(std::string place, std::vector<std::string> names, std::int64_t classes = 0)
      : place_(std::move(place)), names_(std::move(names)), classes_(classes) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  std::int64_t num_classes() const override { return classes_; }
  std::string describe(std::int64_t index) const override {
    return place_ + names_.at(static_cast<std::size_t>(index));
  }
  Example get(std::int64_t) const override { throw Error("none can be read"); }

 private:
  std::string place_;
  std::vector<std::string> names_;
  std::int64_t classes_;
};

const std::vector<std::string> kNames = {"cat/1.png", "cat/2.png", "dog/1.png"};

/// Images with labels; the damaged ones cannot be read.
class Labelled : public Dataset {
 public:
  static constexpr std::int64_t kDamaged = 99;

  explicit Labelled(std::vector<std::int64_t> labels) : labels_(std::move(labels)) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t num_classes() const override { return 2; }
  std::string describe(std::int64_t index) const override { return "images/" + std::to_string(index); }
  Example get(std::int64_t index) const override {
    ++reads;
    const std::int64_t label = labels_.at(static_cast<std::size_t>(index));
    if (label == kDamaged) throw Error("damaged");
    return {Image(), label};
  }

  mutable int reads = 0;

 private:
  std::vector<std::int64_t> labels_;
};

/// Images of a single grey value each.
class Painted : public Dataset {
 public:
  static constexpr std::uint8_t kDamaged = 255;

  explicit Painted(std::vector<std::uint8_t> greys, bool is_floating_point = false)
      : greys_(std::move(greys)), is_floating_point_(is_floating_point) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(greys_.size()); }
  bool is_floating_point() const override { return is_floating_point_; }
  std::string describe(std::int64_t index) const override { return "images/" + std::to_string(index); }
  Example get(std::int64_t index) const override {
    const std::uint8_t grey = greys_.at(static_cast<std::size_t>(index));
    if (grey == kDamaged) throw Error("damaged");
    Image image{1, 1, 1, {grey}};
    if (is_floating_point_) image = {1, 1, 1, {}, {static_cast<float>(grey) / 255}};
    return {image};
  }

 private:
  std::vector<std::uint8_t> greys_;
  bool is_floating_point_;
};

/// A black image for each of these numbers, which come as an extra.
class Conditioned : public Dataset {
 public:
  explicit Conditioned(std::vector<std::int64_t> ages, bool is_integer = true)
      : ages_(std::move(ages)), is_integer_(is_integer) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(ages_.size()); }
  std::string describe(std::int64_t index) const override { return "images/" + std::to_string(index); }
  std::vector<ExtraInfo> extras() const override { return {{"age", {}, false, is_integer_}}; }
  Example get(std::int64_t index) const override {
    Example example{Image{1, 1, 1, {0}}};
    const std::int64_t age = ages_.at(static_cast<std::size_t>(index));
    example.extras["age"] = is_integer_ ? ExtraArray{{}, {age}} : ExtraArray{{static_cast<float>(age)}, {}};
    return example;
  }

 private:
  std::vector<std::int64_t> ages_;
  bool is_integer_;
};

DataFingerprint of(const Dataset& dataset, std::int64_t image_size = 32, bool use_labels = false) {
  DataOptions options;
  options.use_labels = use_labels;
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

TEST_CASE("a missing, added, renamed or reordered image changes the fingerprint, and the difference says how") {
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

TEST_CASE("exchanged labels change the fingerprint if labels are used") {
  const std::vector<std::int64_t> labels = {0, 0, 1};
  const DataFingerprint before = of(Labelled(labels), 32, true);
  CHECK(before.labels == labels);
  CHECK(difference(before, of(Labelled({0, 1, 0}), 32, true)) ==
        "the data are not those of the checkpoint: 2 of the 3 labels that were looked at are others");
  CHECK(difference(before, of(Labelled(labels), 32, true)).empty());
  CHECK(of(Labelled({0, 1, 0})) == of(Labelled(labels)));  // not used
  // What only one of the two has is not compared.
  CHECK(of(Labelled({0, Labelled::kDamaged, 1}), 32, true).labels == std::vector<std::int64_t>{0, -2, 1});
  CHECK(difference(before, of(Labelled({0, Labelled::kDamaged, 1}), 32, true)).empty());
  Value older = to_value(before);
  std::erase_if(older.as_table(), [](const Value::Member& member) { return member.first == "labels"; });
  CHECK(difference(fingerprint_from(older), before).empty());
  older.set("labels", Value::Array{"cat"});
  CHECK_THROWS_AS(fingerprint_from(older), Error);

  std::vector<std::int64_t> many(1000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int64_t>(i % 2);
  const Labelled dataset(many);
  CHECK(of(dataset, 32, true).labels.size() == 64);
  CHECK(dataset.reads == 64);
  dataset.reads = 0;
  of(dataset);
  CHECK(dataset.reads == 16);
}

TEST_CASE("replacing images under the same names changes the fingerprint") {
  const Painted before({1, 2, 3}), after({1, 9, 9});
  CHECK(difference(of(before), of(after)) ==
        "the data are not those of the checkpoint: 2 of the 3 images that were looked at are others");
  CHECK(difference(of(before), of(Painted({1, 2, 3}))).empty());
  CHECK(difference(of(Painted({1, 2, 3}, true)), of(Painted({1, 2, 4}, true))) ==
        "the data are not those of the checkpoint: 1 of the 3 images that were looked at are others");
  CHECK(difference(of(before), of(Painted({1, Painted::kDamaged, 3}))).empty());
  Value older = to_value(of(before));
  std::erase_if(older.as_table(), [](const Value::Member& member) { return member.first == "content"; });
  CHECK(difference(fingerprint_from(older), of(after)).empty());
  older.set("content", Value::Array{3});
  CHECK_THROWS_AS(fingerprint_from(older), Error);
}

TEST_CASE("exchanged extras change the fingerprint") {
  for (const bool is_integer : {true, false}) {
    const DataFingerprint before = of(Conditioned({30, 40, 50}, is_integer));
    CHECK(difference(before, of(Conditioned({30, 50, 40}, is_integer))) ==
          "the data are not those of the checkpoint: 2 of the 3 extras that were looked at are others");
    CHECK(difference(before, of(Conditioned({30, 40, 50}, is_integer))).empty());
    CHECK(fingerprint_from(to_value(before)) == before);
    Value older = to_value(before);
    std::erase_if(older.as_table(), [](const Value::Member& member) { return member.first == "extras"; });
    CHECK(difference(fingerprint_from(older), of(Conditioned({30, 50, 40}, is_integer))).empty());
  }
}

TEST_CASE("a fingerprint survives conversion to a Value, and a damaged one is refused") {
  const DataFingerprint data = of(Labelled({0, 1, 1}), 32, true);
  const Value value = to_value(data);
  CHECK(fingerprint_from(value) == data);
  for (const char* key : {"count", "classes", "shape", "hash"}) {
    Value damaged = value;
    damaged.set(key, -1);
    CHECK_THROWS_AS_MESSAGE(fingerprint_from(damaged), Error, key);
  }
  CHECK_THROWS_AS(fingerprint_from(Value{Value::Table{}}), Error);
}
