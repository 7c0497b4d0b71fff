#include <cmath>
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

TEST_CASE("a sum whose terms all have the weight 0 is refused") {
  CHECK_THROWS_WITH_AS(make_metric("sum", "terms = [{type = \"l1\", weight = 0}, {type = \"ssim\", weight = 0}]"),
                       doctest::Contains("every weight is 0, so the metric compares nothing"), ConfigError);
}

TEST_CASE("sum declares what follows from its terms") {
  const MetricInfo info = make_metric("sum", "terms = [{type = \"ssim\", weight = 0.5}, {type = \"ms_ssim\"}]")->info();
  CHECK(info.minimum_size == 11);
  CHECK(info.lowest == 0);
  CHECK(info.highest == doctest::Approx(2));
}

TEST_CASE("a metric of metrics has the pixel range of the metrics inside it") {
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

/// Records its context; compares images one by one, or the batch as a whole.
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

/// Creates this one metric, whatever is asked for.
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

TEST_CASE("the metrics inside a metric get the noise level, and separate random draws for each patch") {
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

TEST_CASE("patches that tile the image do not change an elementwise mean") {
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

TEST_CASE("a metric inside a decorator is made for the square images that it gets") {
  const Tensor a = fill(3, {2, 3, 8, 20}), b = fill(4, {2, 3, 8, 20});
  MetricLoss::Spec spec;
  spec.image = ImageShape{3, 8, 20};
  spec.factory = &factory();
  for (const char* type : {"resized", "patch"}) {
    CAPTURE(type);
    const auto metric = make<MetricLoss>(
        type, "size = 8\nmetric = {type = \"feature_mmd\", queue = 0, extractor = {type = \"pixels\"}}", spec);
    CHECK(measure(*metric, a, b).isfinite().all().item<bool>());
    CHECK_NOTHROW(make<MetricLoss>(type,
                                   "size = 8\nmetric = {type = \"feature_mmd\", extractor = {type = "
                                   "\"random_patches\", scales = 1}}",
                                   spec));
  }
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

TEST_CASE("a nested metric that needs larger images is refused") {
  CHECK_THROWS_AS(value("patch", "size = 8\nmetric = {type = \"ssim\"}"), ConfigError);
  CHECK_THROWS_AS(value("sum", "terms = [{type = \"ssim\"}]", 8), ConfigError);
  CHECK_THROWS_AS(value("sum", "terms = []"), ConfigError);
}

TEST_CASE("a distance with pixels as features is the mean square of their differences") {
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

TEST_CASE("a distance of features lists the layers there are, and how many weights it needs") {
  const auto refused = [](const std::string& options, const char* message) {
    CHECK_THROWS_WITH_AS(make_metric("feature_distance", "extractor = {type = \"pixels\"}\n" + options),
                         doctest::Contains(message), ConfigError);
  };
  refused("layers = [\"flt\"]", "pixels has no feature \"flt\"; it has flat, spatial");
  refused("layers = [\"flat\", \"flat\"]", "named twice");
  refused("layer_weights = [1.0]", "expected 2 numbers, one for each layer, got 1");
  refused("layer_weights = [1.0, -1.0]", "no negative number");
  refused("layer_weights = [0.0, 0.0]", "layer_weights: all are 0, so the metric compares nothing");
}

TEST_CASE("a distance of random features depends on its seed") {
  const std::string patches = "extractor = {type = \"random_patches\"}\nlayers = [\"pooled\"]\n";
  CHECK(max_relative_difference(value("feature_distance", patches), value("feature_distance", patches)) == 0);
  CHECK(max_relative_difference(value("feature_distance", patches + "seed = 1"), value("feature_distance", patches)) >
        1e-3);
}

/// Batches of images of 2x2 pixels, whose four values are the features.
const std::string kFourPixels = "extractor = {type = \"pixels\"}\nfeature = \"flat\"\n";

Tensor four_pixels(std::uint64_t seed, std::int64_t batch) { return fill(seed, {batch, 1, 2, 2}).to(at::kDouble); }

std::shared_ptr<MetricLoss> of_four_pixels(const std::string& type, const std::string& options) {
  return make_metric(type, kFourPixels + options, 2, 1);
}

TEST_CASE("the maximum mean discrepancy of features is taken over all pairs") {
  const Tensor x = four_pixels(5, 7) * 0.5 + 0.2, y = four_pixels(6, 7);
  const Tensor a = x.flatten(1), b = y.flatten(1);
  const auto mean_kernel = [&](const auto& kernel) {
    const auto mean = [&](const Tensor& left, const Tensor& right) {
      double sum = 0;
      for (std::int64_t i = 0; i < 7; ++i) {
        for (std::int64_t j = 0; j < 7; ++j) sum += kernel(left[i], right[j]) / 49;
      }
      return sum;
    };
    return mean(a, a) + mean(b, b) - 2 * mean(a, b);
  };
  const double cubic =
      mean_kernel([](const Tensor& p, const Tensor& q) { return std::pow((p * q).sum().item<double>() / 4 + 1, 3); });
  CHECK(measure(*of_four_pixels("feature_mmd", ""), x, y).item<double>() == doctest::Approx(cubic).epsilon(1e-9));
  const double unit = (b.unsqueeze(0) - b.unsqueeze(1)).square().sum(2).mean().item<double>();
  const double gaussian = mean_kernel([&](const Tensor& p, const Tensor& q) {
    return std::exp(-(p - q).square().sum().item<double>() / (2 * 0.25 * unit));
  });
  const std::string rbf = "kernel = \"rbf\"\nbandwidth = 0.5\n";
  CHECK(measure(*of_four_pixels("feature_mmd", rbf), x, y).item<double>() == doctest::Approx(gaussian).epsilon(1e-9));
}

TEST_CASE("the Frechet distance of features is that of their means and covariances") {
  const Tensor x = four_pixels(5, 9) * 0.5 + 0.2, y = four_pixels(6, 9);
  const auto moments = [](const Tensor& images) {
    const Tensor f = images.flatten(1), centred = f - f.mean(0);
    return std::pair{f.mean(0), at::mm(centred.t(), centred) / 9};
  };
  const auto [mean_x, c_x] = moments(x);
  const auto [mean_y, c_y] = moments(y);
  const Tensor roots = at::real(at::linalg_eigvals(at::mm(c_x, c_y))).clamp_min(0).sqrt();
  const double expected =
      ((mean_x - mean_y).square().sum() + c_x.trace() + c_y.trace() - 2 * roots.sum()).item<double>();
  const auto metric = of_four_pixels("feature_frechet", "");
  CHECK(measure(*metric, x, y).item<double>() == doctest::Approx(expected).epsilon(1e-9));
  CHECK(measure(*metric, y, y).item<double>() < 1e-12);
  // The distance of a shift is its squared length, whatever the covariance, and its gradient is the same for all
  // images.
  CHECK(measure(*metric, y + 0.25, y).item<double>() == doctest::Approx(4 * 0.0625).epsilon(1e-9));
  CHECK(at::allclose(gradient_of(*metric, y + 0.25, y), at::full_like(y, 2 * 0.25 / 9)));
}

TEST_CASE("a batch of few images in many dimensions has a Frechet distance with the gradient of differences") {
  const Tensor x = fill(7, {3, 3, 4, 4}).to(at::kDouble), y = fill(8, {3, 3, 4, 4}).to(at::kDouble);
  const auto metric = make_metric("feature_frechet", kFourPixels, 4);
  const Tensor gradient = gradient_of(*metric, x, y), direction = fill(9, x.sizes()).to(at::kDouble);
  const double h = 1e-6;
  const double slope = (measure(*metric, x + h * direction, y) - measure(*metric, x - h * direction, y)).item<double>();
  CHECK((gradient * direction).sum().item<double>() == doctest::Approx(slope / (2 * h)).epsilon(1e-6));
}

TEST_CASE("a distance between distributions of features that are not finite is NaN, which the host reports") {
  const Tensor images = four_pixels(5, 9);
  for (const std::string type : {"feature_mmd", "feature_frechet"}) {
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
      CAPTURE(type);
      CAPTURE(bad);
      Tensor broken = images.clone();
      broken[3][0][1][0] = bad;
      CHECK(std::isnan(measure(*of_four_pixels(type, ""), broken, images).item<double>()));
      CHECK(std::isnan(measure(*of_four_pixels(type, ""), images, broken).item<double>()));
      broken.fill_(bad);
      CHECK(std::isnan(measure(*of_four_pixels(type, ""), broken, images).item<double>()));
    }
  }
}

TEST_CASE("with memory, a distance between distributions treats consecutive batches as a larger one") {
  MetricContext training;
  training.is_training = true;
  for (const std::string type : {"feature_mmd", "feature_frechet"}) {
    CAPTURE(type);
    const auto metric = of_four_pixels(type, "queue = 6\n"), alone = of_four_pixels(type, "queue = 0\n");
    CHECK(metric->info().has_state);
    CHECK_FALSE(alone->info().has_state);
    std::vector<Tensor> x, y;
    const at::NoGradGuard no_grad;
    for (std::uint64_t batch = 0; batch < 4; ++batch) {
      // The queue stores float32, so these images are float32, too.
      x.push_back(four_pixels(20 + batch, 3) * 0.5);
      y.push_back(four_pixels(30 + batch, 3));
      const std::size_t first = batch < 2 ? 0 : batch - 2;
      const std::vector<Tensor> all_x(x.begin() + static_cast<std::ptrdiff_t>(first), x.end());
      const std::vector<Tensor> all_y(y.begin() + static_cast<std::ptrdiff_t>(first), y.end());
      const double expected = measure(*alone, at::cat(all_x), at::cat(all_y)).item<double>();
      // Evaluation does not count: only training is remembered.
      for (const MetricContext& context : {MetricContext(), training}) {
        CHECK((*metric)(x.back(), y.back(), context).item<double>() == doctest::Approx(expected).epsilon(1e-7));
      }
    }
  }
}

TEST_CASE("a distance between distributions lists the features there are") {
  CHECK_THROWS_WITH_AS(make_metric("feature_mmd", "extractor = {type = \"pixels\"}\nfeature = \"flt\""),
                       doctest::Contains("pixels has no feature \"flt\"; it has "), ConfigError);
}

}  // namespace
}  // namespace casdm
