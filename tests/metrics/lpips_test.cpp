#include <map>

#include "casdm/safetensors.h"
#include "metrics/lpips_weights.h"
#include "metrics/metrics.h"
#include "support/observed.h"

namespace casdm {
namespace {

using namespace testing;

/// LPIPS with SqueezeNet, the smallest trunk, filled with made-up weights after `alter` has changed them.
std::shared_ptr<MetricLoss> small_lpips(
    const std::string& options = "", void (*alter)(NamedTensors&) = [](NamedTensors&) {}, std::int64_t channels = 3) {
  NamedTensors state = lpips_state("squeezenet");
  alter(state);
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "weights.safetensors";
  write_safetensors(path, state);
  return make_metric("lpips", "net = \"squeezenet\"\nweights = \"" + path.string() + "\"\n" + options, 32, channels);
}

/// Makes features of the first tap about 1e-30: above 0, so the ReLU passes gradients, but with squares that are 0 in
/// float32. (Features of exactly 0 do no harm: there the gradient of ReLU is 0, whatever the incoming gradient.)
void whisper(NamedTensors& state) {
  for (auto& [name, tensor] : state) {
    if (name == "net.slice1.0.weight") tensor.mul_(1e-30);
    if (name == "net.slice1.0.bias") tensor.zero_();
  }
}

TEST_CASE("if features are too small to be squared, the published form has no finite gradient, the safe one has") {
  const Tensor x = fill(1, {2, 3, 32, 32}), y = fill(2, {2, 3, 32, 32});
  const Tensor published = gradient_of(*small_lpips("normalisation = \"upstream\"", whisper), x, y);
  CHECK_FALSE(is_finite(published));
  CHECK(published.isnan().any().item<bool>());
  CHECK(is_finite(gradient_of(*small_lpips("normalisation = \"safe\"", whisper), x, y)));
}

/// The distance in double precision between a constant image, whose first tap is one feature of about `level` in
/// channel 0 everywhere and 0 in the others, and a black image whose tap is 0.
double distance_of_feature(double level, const std::string& normalisation) {
  NamedTensors state = lpips_state("squeezenet");
  for (auto& [name, tensor] : state) {
    if (name.starts_with("net.")) tensor.zero_();
    if (name.starts_with("lin")) tensor.fill_(name.starts_with("lin0") ? 1 : 0);
    if (name == "net.slice1.0.weight") tensor[0][0][1][1].fill_(level);
  }
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "weights.safetensors";
  write_safetensors(path, state);
  const auto metric = make_metric(
      "lpips", "net = \"squeezenet\"\nweights = \"" + path.string() + "\"\nnormalisation = \"" + normalisation + "\"",
      32);
  // Red of 0.428 becomes 1 after the input scaling, red of -0.030 becomes 0.
  Tensor lit = at::zeros({1, 3, 32, 32}, at::kDouble), dark = lit.clone();
  lit.select(1, 0).fill_(0.428);
  dark.select(1, 0).fill_(-0.030);
  return measure(*metric, lit, dark).item<double>();
}

TEST_CASE("one form adds 1e-10 to the squares, the other to the root") {
  const double level = 1e-5;
  CHECK(distance_of_feature(level, "safe") == doctest::Approx(level * level / (level * level + 1e-10)).epsilon(1e-5));
  const double faint = 1e-10;
  CHECK(distance_of_feature(faint, "upstream") == doctest::Approx(0.25).epsilon(1e-5));
}

TEST_CASE("both forms of the normalisation give the same value for channels with a signal") {
  const Tensor x = fill(1, {2, 3, 32, 32}), y = fill(2, {2, 3, 32, 32});
  CHECK(max_relative_difference(measure(*small_lpips("normalisation = \"safe\""), x, y),
                                measure(*small_lpips("normalisation = \"upstream\""), x, y)) < 1e-5);
}

TEST_CASE("without heads every channel counts once") {
  const Tensor x = fill(1, {2, 3, 32, 32}), y = fill(2, {2, 3, 32, 32});
  const Tensor unweighted = measure(*small_lpips("lin = false"), x, y);
  CHECK(max_relative_difference(measure(*small_lpips(), x, y), unweighted) < 1e-5);  // the heads here are all 1
  const auto doubled = small_lpips("", [](NamedTensors& state) {
    for (auto& [name, tensor] : state) {
      if (name.starts_with("lin")) tensor.fill_(2);
    }
  });
  CHECK(max_relative_difference(measure(*doubled, x, y), 2 * unweighted) < 1e-5);
}

TEST_CASE("the network computes in the memory format asked for, with the same numbers as in the chosen one") {
  const Tensor x = fill(1, {8, 3, 32, 32}), y = fill(2, {8, 3, 32, 32});
  const auto gradient_and_formats = [&](const std::string& options) {
    Tensor gradient;
    const auto formats = formats_of_convolutions([&] { gradient = gradient_of(*small_lpips(options), x, y); });
    return std::pair(gradient, formats.images);
  };
  const Tensor automatic = gradient_and_formats("").first;
  const auto [last, of_last] = gradient_and_formats("memory_format = \"channels_last\"");
  const auto [contiguous, of_contiguous] = gradient_and_formats("memory_format = \"contiguous\"");
  CHECK(of_last == std::set{at::MemoryFormat::ChannelsLast});
  CHECK(of_contiguous == std::set{at::MemoryFormat::Contiguous});
  CHECK(max_relative_difference(last, automatic) < 1e-5);
  CHECK(max_relative_difference(contiguous, automatic) < 1e-3);  // rounding decides where a ReLU has its kink
  CHECK_THROWS_WITH_AS(small_lpips("memory_format = \"nhwc\""), doctest::Contains("memory_format"), ConfigError);
}

TEST_CASE("a grey image counts as an RGB image with equal channels") {
  const Tensor x = fill(1, {2, 1, 32, 32}), y = fill(2, {2, 1, 32, 32});
  const auto grey = small_lpips(
      "", [](NamedTensors&) {}, 1);
  CHECK(grey->info().channels == 1);
  CHECK(at::equal(measure(*grey, x, y), measure(*small_lpips(), x.expand({2, 3, 32, 32}), y.expand({2, 3, 32, 32}))));
  CHECK_THROWS_AS(small_lpips(
                      "", [](NamedTensors&) {}, 4),
                  ConfigError);
}

TEST_CASE("weights are buffers that gradients do not reach") {
  const auto metric = small_lpips();
  CHECK(metric->parameters().empty());
  const Tensor x = fill(1, {1, 3, 32, 32});
  gradient_of(*metric, x, -x);
  for (const auto& [name, tensor] : metric->buffers()) {
    CHECK_FALSE(tensor.requires_grad());
    CHECK_FALSE(tensor.grad().defined());
  }
}

TEST_CASE("the declared smallest image of a trunk really is the smallest it takes") {
  const auto metric = small_lpips();
  const std::int64_t size = metric->info().minimum_size;
  const Tensor x = fill(1, {1, 3, size, size});
  CHECK(is_finite(measure(*metric, x, -x)));
  const Tensor smaller = fill(1, {1, 3, size - 1, size - 1});
  CHECK_THROWS(measure(*metric, smaller, -smaller));
}

TEST_CASE("a weights file that does not fit is refused with what is missing, unexpected and misshapen") {
  const auto message = [](void (*alter)(NamedTensors&)) {
    try {
      small_lpips("", alter);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string text = message([](NamedTensors& state) {
    state.front().first = "net.slice1.0.kernel";
    state.back().second = at::ones({1, 4, 1, 1});
  });
  CHECK(text.find("missing net.slice1.0.weight") != std::string::npos);
  CHECK(text.find("unexpected \"net.slice1.0.kernel\"") != std::string::npos);
  CHECK(text.find("scaling_layer.scale has shape [1, 4, 1, 1], expected [1, 3, 1, 1]") != std::string::npos);
}

TEST_CASE("a missing weights file is named together with the places that were searched") {
  CHECK_THROWS_WITH_AS(make_metric("lpips", "weights = \"nowhere.safetensors\"", 32),
                       doctest::Contains("no weights file \"nowhere.safetensors\"; looked in"), Error);
}

/// consistency_models' LPIPS written out: the images resized to 224, VGG16 with average pools, heads of 1.
double consistency_models_lpips(const NamedTensors& state, const Tensor& x, const Tensor& y) {
  const at::NoGradGuard no_grad;
  std::map<std::string, Tensor> weights(state.begin(), state.end());
  const std::vector<std::vector<int>> slices = {{0, 2}, {5, 7}, {10, 12, 14}, {17, 19, 21}, {24, 26, 28}};
  const auto resized = [&](const Tensor& image) {
    const Tensor larger = at::upsample_bilinear2d(image, {224, 224}, /*align_corners=*/false);
    return (larger - weights["scaling_layer.shift"]) / weights["scaling_layer.scale"];
  };
  Tensor a = resized(x), b = resized(y);
  double sum = 0;
  for (std::size_t k = 0; k < slices.size(); ++k) {
    const auto advance = [&](Tensor image) {
      if (k > 0) image = at::avg_pool2d(image, 2);
      for (const int layer : slices[k]) {
        const std::string name = "net.slice" + std::to_string(k + 1) + "." + std::to_string(layer);
        const std::int64_t one = 1;
        image = at::conv2d(image, weights[name + ".weight"], weights[name + ".bias"], one, one).relu();
      }
      return image;
    };
    const auto unit = [](const Tensor& f) { return f / f.square().sum(1, true).sqrt(); };
    a = advance(a), b = advance(b);
    sum += (unit(a) - unit(b)).square().sum(1).mean().item<double>();
  }
  return sum;
}

TEST_CASE("the profile of consistency models resizes images below 256 px to 224 and uses average pools") {
  const NamedTensors state = lpips_state("vgg16");
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "weights.safetensors";
  write_safetensors(path, state);
  for (const std::int64_t size : {8, 255}) {
    const auto metric =
        make_metric("lpips", "profile = \"consistency-models\"\nweights = \"" + path.string() + "\"", size);
    CHECK(metric->info().minimum_size == 1);
    const Tensor x = fill(1, {1, 3, size, size}), y = fill(2, {1, 3, size, size});
    CHECK(measure(*metric, x, y).item<double>() ==
          doctest::Approx(consistency_models_lpips(state, x, y)).epsilon(1e-5));
  }
}

TEST_CASE("the profile of consistency models is only for VGG16") {
  CHECK_THROWS_AS(make_metric("lpips", "net = \"alexnet\"\nprofile = \"consistency-models\"", 32), ConfigError);
}

}  // namespace
}  // namespace casdm
