#include "metrics/contract.h"
#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

const Tensor kTarget = fill(1, {2, 3, 16, 16});
const Tensor kPrediction = kTarget * 0.7 + fill(2, {2, 3, 16, 16}) * 0.2;

Tensor value(const std::string& type, const std::string& options = "", std::int64_t size = 16) {
  return measure(*make_metric(type, options, size), kPrediction, kTarget);
}

TEST_CASE("sum adds its terms by weight") {
  const Tensor expected = 0.5 * value("l1") + 2 * value("ssim") + value("spectral");
  const Tensor sum = value("sum",
                           "terms = [{type = \"l1\", weight = 0.5}, {type = \"ssim\", weight = 2}, "
                           "{type = \"spectral\"}]");
  CHECK(max_relative_difference(sum, expected) < 1e-6);
}

TEST_CASE("sum declares what its terms imply") {
  const MetricInfo info = make_metric("sum", "terms = [{type = \"ssim\", weight = 0.5}, {type = \"ms_ssim\"}]")->info();
  CHECK(info.minimum_size == 11);
  CHECK(info.lowest == 0);
  CHECK(info.highest == doctest::Approx(2));
}

TEST_CASE("a metric of metrics is made for the range of pixels that they are made for") {
  const std::array<double, 2> whole = {-1, 1};
  CHECK(make_metric("sum", "terms = [{type = \"l1\"}, {type = \"ssim\"}]")->info().input_range == whole);
  CHECK(make_metric("resized", "size = 16\nmetric = {type = \"ssim\"}")->info().input_range == whole);
  CHECK_FALSE(make_metric("sum", "terms = [{type = \"l1\"}, {type = \"l2\"}]")->info().input_range.has_value());
}

TEST_CASE("patch is the mean of its metric over the patches, the last flush with the edge") {
  const auto patch = [](std::int64_t top, std::int64_t left) {
    const auto cut = [&](const Tensor& x) { return x.narrow(2, top, 12).narrow(3, left, 12); };
    return measure(*make_metric("ssim", "", 12), cut(kPrediction), cut(kTarget));
  };
  const Tensor expected = (patch(0, 0) + patch(0, 4) + patch(4, 0) + patch(4, 4)) / 4;
  CHECK(max_relative_difference(value("patch", "size = 12\nmetric = {type = \"ssim\"}"), expected) < 1e-6);
}

TEST_CASE("patches that tile the image leave an elementwise mean as it is") {
  CHECK(max_relative_difference(value("patch", "size = 4\nmetric = {type = \"l1\"}"), value("l1")) < 1e-6);
}

TEST_CASE("resized measures the resized images") {
  const auto halved = [](const Tensor& x) { return at::avg_pool2d(x, 2); };
  const Tensor expected = measure(*make_metric("l1", "", 8), halved(kPrediction), halved(kTarget));
  CHECK(max_relative_difference(value("resized", "size = 8\nmode = \"area\"\nmetric = {type = \"l1\"}"), expected) <
        1e-6);
  const auto doubled = [](const Tensor& x) { return at::upsample_bilinear2d(x, {32, 32}, false); };
  const Tensor larger = measure(*make_metric("ssim", "", 32), doubled(kPrediction), doubled(kTarget));
  CHECK(max_relative_difference(value("resized", "size = 32\nmetric = {type = \"ssim\"}"), larger) < 1e-5);
}

TEST_CASE("decorators nest") {
  const Tensor nested = value("resized",
                              "size = 16\nmetric = {type = \"patch\", size = 16, metric = {type = \"sum\", terms = "
                              "[{type = \"l2\", weight = 3.0}]}}");
  CHECK(max_relative_difference(nested, 3 * value("l2")) < 1e-6);
}

TEST_CASE("buffers of nested metrics have their own names") {
  const auto metric = make_metric("sum", "terms = [{type = \"ssim\"}, {type = \"gradient\"}, {type = \"ssim\"}]");
  std::vector<std::string> names;
  for (const auto& [name, tensor] : metric->buffers()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"0.window", "1.sobel", "2.window"});
}

TEST_CASE("decorators keep the contract of a metric") {
  check_contract({{"sum", "terms = [{type = \"l1\"}, {type = \"ssim\", weight = 0.1}]"},
                  {"resized", "size = 24\nmetric = {type = \"ssim\"}"},
                  {"resized", "size = 12\nmode = \"bicubic\"\nmetric = {type = \"ssim\"}"},
                  {"patch", "size = 12\nmetric = {type = \"ssim\"}"}});
}

TEST_CASE("a nested metric that the images are too small for is refused") {
  CHECK_THROWS_AS(value("patch", "size = 8\nmetric = {type = \"ssim\"}"), ConfigError);
  CHECK_THROWS_AS(value("sum", "terms = [{type = \"ssim\"}]", 8), ConfigError);
  CHECK_THROWS_AS(value("sum", "terms = []"), ConfigError);
}

}  // namespace
}  // namespace casdm
