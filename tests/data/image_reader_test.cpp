#include "framework/data/image_reader.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <new>

#include "casdm/error.h"
#include "framework/data/extras.h"

using namespace casdm;

namespace {

/// Images of one pixel, created by `get`.
class Made : public Dataset {
 public:
  explicit Made(std::function<Example(std::int64_t)> get, std::int64_t size = 3) : get_(std::move(get)), size_(size) {}

  std::int64_t size() const override { return size_; }
  std::int64_t num_classes() const override { return 2; }
  std::string describe(std::int64_t index) const override { return "number " + std::to_string(index); }
  Example get(std::int64_t index) const override { return get_(index); }

 private:
  std::function<Example(std::int64_t)> get_;
  std::int64_t size_;
};

Example pixel(std::uint8_t red, std::string remark = {}) { return {Image{1, 1, 3, {red, 8, 9}}, 1, std::move(remark)}; }

DataOptions options_with(bool skip_unreadable) {
  DataOptions options;
  options.dataset.type = "made";
  options.image_size = 1;
  options.skip_unreadable = skip_unreadable;
  return options;
}

ImageReader reader_of(std::function<Example(std::int64_t)> get, const DataOptions& options) {
  return {std::make_shared<Made>(std::move(get)), options};
}

}  // namespace

TEST_CASE("an image is read as planes with its label") {
  DataOptions options = options_with(false);
  options.image_size = 2;
  ImageReader reader = reader_of(
      [](std::int64_t) {
        return Example{Image{2, 2, 3, {0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}}, 1};
      },
      options);
  const PreparedImage image = reader.read(0);
  CHECK(image.pixels == std::vector<std::uint8_t>{0, 10, 20, 30, 1, 11, 21, 31, 2, 12, 22, 32});
  CHECK(image.label == 1);
}

TEST_CASE("an image that needs too much memory is named, and skipped if unreadable images are") {
  const auto get = [](std::int64_t index) -> Example {
    if (index == 1) throw std::bad_alloc();
    return pixel(static_cast<std::uint8_t>(index));
  };
  ImageReader strict = reader_of(get, options_with(false));
  CHECK_THROWS_WITH_AS(strict.read(1), "made: number 1 cannot be read: there is not enough memory", Error);
  ImageReader skipping = reader_of(get, options_with(true));
  CHECK(skipping.read(1).pixels[0] == 2);
  CHECK(skipping.record().take_summary() ==
        std::vector<std::string>{"left out 1 of 3 images: 1 cannot be read: there is not enough memory"});
}

TEST_CASE("a plugin's invalid image is the plugin's error, even if unreadable images are skipped") {
  for (const bool skip : {false, true}) {
    ImageReader reader = reader_of(
        [](std::int64_t) {
          return Example{Image{4, 4, 3, {1, 2, 3}}, 0};
        },
        options_with(skip));
    CHECK_THROWS_AS(reader.read(0), PluginError);
  }
}

TEST_CASE("another kind of exception becomes an error that names the plugin and the image") {
  ImageReader reader =
      reader_of([](std::int64_t) -> Example { throw std::out_of_range("vector::at"); }, options_with(true));
  CHECK_THROWS_WITH_AS(reader.read(2), "made: failed: vector::at (reading number 2)", PluginError);
}

TEST_CASE("a label outside the declared classes is the plugin's error if labels are used") {
  const auto get = [](std::int64_t) { return Example{Image{1, 1, 3, {1, 2, 3}}, 7}; };
  DataOptions options = options_with(true);
  CHECK(reader_of(get, options).read(0).label == 7);
  options.use_labels = true;
  CHECK_THROWS_WITH_AS(reader_of(get, options).read(0), "made: number 0 has the label 7; the data set promises 0 to 1",
                       PluginError);
}

TEST_CASE("a floating-point image must have finite values in [-1, 1]") {
  class Floating final : public Dataset {
   public:
    explicit Floating(Image image) : image_(std::move(image)) {}
    std::int64_t size() const override { return 1; }
    bool is_floating_point() const override { return true; }
    std::string describe(std::int64_t) const override { return "the image"; }
    Example get(std::int64_t) const override { return {image_, -1}; }

   private:
    Image image_;
  };
  const auto refusal = [](std::vector<std::uint8_t> pixels, std::vector<float> values) -> std::string {
    try {
      ImageReader(std::make_shared<Floating>(Image{1, 1, 3, std::move(pixels), std::move(values)}), options_with(false))
          .read(0);
    } catch (const PluginError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal({}, {-1, 0, 1}) == "");
  CHECK(refusal({}, {-1, 0, 255}).find("made: the image: ") == 0);
  CHECK(refusal({}, {-1, 0, 255}).find("has the value 255.0; expected values in [-1, 1]") != std::string::npos);
  CHECK(refusal({}, {-1, 0, std::nanf("")}) != "");
  CHECK(refusal({1, 2, 3}, {-1, 0, 1}) != "");
  ImageReader bytes = reader_of(
      [](std::int64_t) {
        return Example{Image{1, 1, 3, {1, 2, 3}, {0.1F, 0.2F, 0.3F}}, 1};
      },
      options_with(false));
  CHECK_THROWS_AS(bytes.read(0), PluginError);
}

TEST_CASE("an extra that is not finite is the plugin's error") {
  const ExtraInfo context{"context", {2}};
  Example example = pixel(1);
  example.extras["context"] = {{1, 2}, {}};
  CHECK(prepared_extra(context, example).size() == 2 * sizeof(float));
  example.extras["context"] = {{1, std::nanf("")}, {}};
  CHECK_THROWS_WITH_AS(prepared_extra(context, example), "the extra \"context\" has values that are not finite", Error);
  example.extras["context"] = {{1, 900}, {}};
  CHECK_NOTHROW(prepared_extra(context, example));
  CHECK_THROWS_WITH_AS(
      prepared_extra({"context", {2, 1, 1}, true}, example),
      "the extra \"context\", an image, has the value 900.0; expected values in [-1, 1], the range of samples", Error);
}

TEST_CASE("an extra that is not declared is the plugin's error") {
  ImageReader reader = reader_of(
      [](std::int64_t) {
        Example example = pixel(1);
        example.extras["age"] = {{}, {4}};
        return example;
      },
      options_with(false));
  CHECK_THROWS_WITH_AS(reader.read(0), doctest::Contains("an image has 1 extras; extras() declares 0"), PluginError);
}

TEST_CASE("a sample has the label of the image whose extras it gets, or the classes in turn") {
  ImageReader images = reader_of(
      [](std::int64_t index) {
        Example example = pixel(1);
        example.label = index == 2 ? -1 : 1 - index;
        return example;
      },
      options_with(false));
  CHECK(at::equal(labels_of_samples(&images, 2, 1, 5), at::tensor({0, 0, 1, 0, 1}, at::kLong)));
  CHECK(at::equal(labels_of_samples(nullptr, 2, 1, 5), at::tensor({1, 0, 1, 0, 1}, at::kLong)));
}

TEST_CASE("an image whose extras cannot be read is named, or skipped with its label where unreadable ones are") {
  class Numbered final : public Made {
   public:
    Numbered()
        : Made([](std::int64_t index) {
            if (index == 1) throw Error("number 1: the pair is broken");
            Example example = pixel(1);
            example.label = index / 2;
            example.extras["age"] = {{}, {index}};
            return example;
          }) {}
    std::vector<ExtraInfo> extras() const override { return {{"age", {}, false, true}}; }
  };
  ImageReader strict(std::make_shared<Numbered>(), options_with(false));
  CHECK_THROWS_WITH_AS(extras_of(strict, 0, 2), doctest::Contains("number 1: the pair is broken"), Error);
  ImageReader lenient(std::make_shared<Numbered>(), options_with(true));
  CHECK(at::equal(extras_of(lenient, 0, 5).at("age"), at::tensor({0, 2, 2, 0, 2}, at::kLong)));
  CHECK(at::equal(labels_of_samples(&lenient, 2, 0, 3), at::tensor({0, 1, 1}, at::kLong)));
  CHECK_THROWS_WITH_AS(labels_of_samples(&lenient, 1, 0, 2), doctest::Contains("number 1 has the label 1; expected"),
                       Error);
}

TEST_CASE("a data set's remarks are counted over the images that were read") {
  ImageReader reader =
      reader_of([](std::int64_t index) { return pixel(1, index == 1 ? "" : "are upside down"); }, options_with(false));
  for (const std::int64_t index : {0, 1, 2, 0}) reader.read(index);
  CHECK(reader.record().take_summary() == std::vector<std::string>{"2 of 3 images are upside down"});
}

TEST_CASE("a cache that cannot fit is refused with what to change") {
  DataOptions options = options_with(false);
  options.image_size = 4096;
  options.cache = CacheMode::always;
  const auto huge = std::make_shared<Made>([](std::int64_t) { return pixel(1); }, 100'000'000);
  std::string message;
  try {
    ImageReader(huge, options);
  } catch (const ConfigError& error) {
    message = error.what();
  }
  for (const char* part : {"data.cache = \"always\": 100000000 images of 4096 x 4096 pixels take 5033165 GB",
                           "set data.cache = \"never\", or use a smaller data.image_size or fewer images"}) {
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  }
}

TEST_CASE("a missing, badly sized or non-finite extra of an image is named") {
  const ExtraInfo info{"depth", {2}, false, false};
  Example example;
  const auto refused = [&](const char* expected) {
    CHECK_THROWS_WITH_AS(prepared_extra(info, example), doctest::Contains(expected), Error);
  };
  refused("the extra \"depth\" is missing");
  example.extras["depth"].values = {1};
  refused("has 1 values and 0 integers; expected 2 values");
  for (const float bad : {std::nanf(""), INFINITY}) {
    example.extras["depth"].values = {1, bad};
    refused("the extra \"depth\" has values that are not finite");
  }
  example.extras["depth"].values = {1, 2};
  CHECK(prepared_extra(info, example).size() == 8);
}
