#include <set>

#include "casdm/feature_extractor.h"
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

/// Remembers what it was told; compares images one by one, or the batch as a whole.
class Listener final : public MetricLoss {
 public:
  explicit Listener(bool is_per_image) : is_per_image_(is_per_image) {}
  MetricInfo info() const override { return {.is_per_image = is_per_image_, .has_state = true}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const Tensor value = (prediction - target.at(0)).abs().mean({1, 2, 3});
    return is_per_image_ ? value : value.mean(0, /*keepdim=*/true);
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    heard = context;
    return distance(prediction, target);
  }

  MetricContext heard;

 private:
  bool is_per_image_;
};

/// Makes the one metric, whatever is asked for.
class Only final : public ComponentFactory {
 public:
  explicit Only(std::shared_ptr<MetricLoss> metric) : metric_(std::move(metric)) {}

 protected:
  std::shared_ptr<void> make_any(std::string_view, const ComponentConfig&, const void*) const override {
    return metric_;
  }

 private:
  std::shared_ptr<MetricLoss> metric_;
};

TEST_CASE("the metrics within a metric are told the noise level, and have a patch's own draws") {
  const auto told = [](const std::string& type, const std::string& options, bool is_per_image = true) {
    const auto listener = std::make_shared<Listener>(is_per_image);
    const Only factory(listener);
    const auto metric = make<MetricLoss>(type, options, {ImageShape::square(3, 16), &factory});
    CHECK(metric->info().has_state);
    CHECK(metric->info().is_per_image == is_per_image);
    MetricContext context;
    context.t = at::tensor({7, 9});
    context.log_snr = at::tensor({0.5, -0.5}, at::kDouble);
    context.seeds = {1, 2};
    context.is_training = true;
    CHECK((*metric)(kPrediction, kTarget, context).size(0) == (is_per_image ? 2 : 1));
    return listener->heard;
  };
  for (const std::string options : {"sum", "resized"}) {
    const MetricContext heard = options == "sum" ? told("sum", "terms = [{type = \"l1\"}]")
                                                 : told("resized", "size = 8\nmetric = {type = \"l1\"}");
    CHECK(heard.t.equal(at::tensor({7, 9})));
    CHECK(heard.is_training);
    CHECK(heard.seeds.size() == 2);
  }
  const MetricContext heard = told("patch", "size = 8\nmetric = {type = \"l1\"}");
  CHECK(heard.t.equal(at::tensor({7, 7, 7, 7, 9, 9, 9, 9})));
  CHECK(heard.log_snr.size(0) == 8);
  CHECK(std::set<std::uint64_t>(heard.seeds.begin(), heard.seeds.end()).size() == 8);
  told("patch", "size = 8\nmetric = {type = \"l1\"}", false);
  told("sum", "terms = [{type = \"l1\"}]", false);
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
  CHECK(names == std::vector<std::string>{"0.window", "2.window"});
}

TEST_CASE("decorators keep the contract of a metric") {
  check_contract({{"sum", "terms = [{type = \"l1\"}, {type = \"ssim\", weight = 0.1}]"},
                  {"resized", "size = 24\nmetric = {type = \"ssim\"}"},
                  {"resized", "size = 12\nmode = \"bicubic\"\nmetric = {type = \"ssim\"}"},
                  {"patch", "size = 12\nmetric = {type = \"ssim\"}"},
                  {"feature_distance", "extractor = {type = \"random_patches\"}"},
                  {"feature_distance", "extractor = {type = \"pixels\"}\ndistance = \"cosine\""},
                  {"feature_distance", "extractor = {type = \"alexnet\"}\ndistance = \"l1\""}});
}

TEST_CASE("a nested metric that the images are too small for is refused") {
  CHECK_THROWS_AS(value("patch", "size = 8\nmetric = {type = \"ssim\"}"), ConfigError);
  CHECK_THROWS_AS(value("sum", "terms = [{type = \"ssim\"}]", 8), ConfigError);
  CHECK_THROWS_AS(value("sum", "terms = []"), ConfigError);
}

TEST_CASE("a distance of pixels as features is the mean square of their differences") {
  const std::string pixels = "extractor = {type = \"pixels\"}\nlayers = [\"flat\"]\nunit_length = false\n";
  CHECK(max_relative_difference(value("feature_distance", pixels), value("l2")) < 1e-6);
  CHECK(max_relative_difference(value("feature_distance", pixels + "distance = \"l1\""), value("l1")) < 1e-6);
}

TEST_CASE("a cosine distance is 1 - cos, half of the squared distance of unit vectors") {
  const Tensor a = kPrediction.flatten(1), b = kTarget.flatten(1);
  const Tensor expected = 1 - (a * b).sum(1) / (a.norm(2, {1}) * b.norm(2, {1}));
  const std::string pixels = "extractor = {type = \"pixels\"}\nlayers = [\"flat\"]\n";
  CHECK(max_relative_difference(value("feature_distance", pixels + "distance = \"cosine\""), expected) < 1e-5);
  CHECK(max_relative_difference(value("feature_distance", pixels), 2 * expected) < 1e-5);
  CHECK(make_metric("feature_distance", pixels)->info().highest == 4);
}

TEST_CASE("a distance of features at ST-LPIPS's taps is ST-LPIPS without its heads") {
  const Tensor target = fill(3, {2, 3, 32, 32}), prediction = target * 0.8 + fill(4, {2, 3, 32, 32}) * 0.2;
  const auto metric = make_metric("feature_distance",
                                  "extractor = {type = \"alexnet\"}\n"
                                  "layers = [\"relu1\", \"relu2\", \"relu3\", \"relu4\", \"relu5\"]\n"
                                  "layer_weights = [1, 1, 0, 0, 0.5]",
                                  32);
  const at::NoGradGuard no_grad;
  const auto trunk = make<FeatureExtractor>("alexnet", "", {ImageShape::square(3, 32), 0});
  const auto at_tap = [&](const char* name) {
    const auto unit = [&](const Tensor& images) {
      const Tensor f = trunk->extract(images, {name}).front().second;
      return f / f.norm(2, {1}, true).clamp_min(1e-5);
    };
    return (unit(prediction) - unit(target)).square().sum(1).mean({1, 2});
  };
  const Tensor expected = at_tap("relu1") + at_tap("relu2") + 0.5 * at_tap("relu5");
  CHECK(max_relative_difference(measure(*metric, prediction, target), expected) < 1e-4);
}

TEST_CASE("a distance of features says which layers there are, and how many weights it needs") {
  const auto refused = [](const std::string& options, const char* message) {
    CHECK_THROWS_WITH_AS(make_metric("feature_distance", "extractor = {type = \"pixels\"}\n" + options),
                         doctest::Contains(message), ConfigError);
  };
  refused("layers = [\"flt\"]", "pixels has no feature \"flt\"; it has flat, spatial");
  refused("layers = [\"flat\", \"flat\"]", "named twice");
  refused("layer_weights = [1.0]", "expected 2 numbers, one for each layer, got 1");
  refused("layer_weights = [1.0, -1.0]", "no negative number");
}

TEST_CASE("a distance of features that are drawn depends on its seed") {
  const std::string patches = "extractor = {type = \"random_patches\"}\nlayers = [\"pooled\"]\n";
  CHECK(max_relative_difference(value("feature_distance", patches), value("feature_distance", patches)) == 0);
  CHECK(max_relative_difference(value("feature_distance", patches + "seed = 1"), value("feature_distance", patches)) >
        1e-3);
}

}  // namespace
}  // namespace casdm
