#include <cmath>
#include <map>
#include <set>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "metrics/lpips_weights.h"
#include "metrics/metrics.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kBound = 1e-5;  // two fp32 implementations that sum in different orders

/// Splits a golden's name: "lpips.vgg.32.layer0" -> lpips, vgg, 32, layer0.
std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts = {""};
  for (const char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// The goldens' short names of networks.
std::string network(const std::string& name) {
  const std::map<std::string, std::string> names = {{"vgg", "vgg16"}, {"alex", "alexnet"}, {"squeeze", "squeezenet"}};
  const auto found = names.find(name);
  REQUIRE_MESSAGE(found != names.end(), "no network corresponds to ", name);
  return found->second;
}

/// Parses "[\"a\", \"b\"]" in the metadata.
std::vector<std::string> strings(const std::string& json) {
  std::vector<std::string> result;
  const Value list = from_json(json);
  for (const Value& value : list.as_array()) result.push_back(value.as_string());
  return result;
}

/// LPIPS with the goldens' filled trunk and the official heads in `file`.
std::shared_ptr<MetricLoss> golden_lpips(GoldenFile& file, const std::string& net, const std::string& normalisation,
                                         std::int64_t size) {
  NamedTensors state = lpips_state(network(net));
  std::set<std::string> trunk;
  for (auto& [name, tensor] : state) {
    if (name.starts_with("lin")) tensor = file["lin." + net + "." + name];
    if (name.starts_with("net.")) trunk.insert(name.substr(4));
  }
  const auto published = strings(file.metadata("lpips." + net + ".trunk_keys"));
  CHECK(trunk == std::set<std::string>(published.begin(), published.end()));
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "weights.safetensors";
  write_safetensors(path, state);
  return make_metric(
      "lpips",
      "net = \"" + network(net) + "\"\nweights = \"" + path.string() + "\"\nnormalisation = \"" + normalisation + "\"",
      size);
}

/// The term of a single tap: the metric with all other heads 0.
Tensor one_layer(MetricLoss& metric, std::int64_t layer, const Tensor& prediction, const Tensor& target) {
  const at::NoGradGuard no_grad;
  std::vector<std::pair<Tensor, Tensor>> kept;
  for (const auto& [name, tensor] : metric.buffers()) {
    if (!name.starts_with("lin") || name.starts_with("lin" + std::to_string(layer) + ".")) continue;
    kept.emplace_back(tensor, tensor.clone());
    Tensor(tensor).zero_();
  }
  const Tensor value = measure(metric, prediction, target);
  for (auto& [tensor, content] : kept) tensor.copy_(content);
  return value;
}

void check_lpips(GoldenFile& file, const std::string& normalisation) {
  std::map<std::string, std::shared_ptr<MetricLoss>> metrics;
  for (const auto& [name, tensor] : file.tensors()) {
    const auto parts = parts_of(name);
    if (parts[0] != "lpips") continue;
    auto& metric = metrics[parts[1]];
    if (!metric) metric = golden_lpips(file, parts[1], normalisation, std::stoll(parts[2]));
    const Tensor prediction = file["b" + parts[2]], target = file["a" + parts[2]];
    const bool is_layer = parts.size() > 3;
    const Tensor value = is_layer ? one_layer(*metric, std::stoll(parts[3].substr(5)), prediction, target)
                                  : measure(*metric, prediction, target);
    const std::string quantity = text(is_layer ? "each layer" : "distance", ", ", network(parts[1]), ", ",
                                      normalisation == "safe" ? "form to train with" : "published form");
    file.compare(value, name, {"lpips", quantity, "lpips", kBound});
  }
}

void check_st_lpips(GoldenFile& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    const auto parts = parts_of(name);
    if (parts[0] != "st_lpips") continue;
    const std::string net = network(parts[1]);
    try {
      find_weights("st_lpips_" + net + ".safetensors");
    } catch (const Error& error) {
      MESSAGE("SKIPPED ", name, ": ", error.what());
      file[name];
      continue;
    }
    for (const std::string normalisation : {"safe", "upstream"}) {
      const auto metric = make_metric("st_lpips", "net = \"" + net + "\"\nnormalisation = \"" + normalisation + "\"",
                                      std::stoll(parts[2]));
      const std::string quantity =
          text("distance, ", net, ", ", normalisation == "safe" ? "form to train with" : "published form");
      file.compare(measure(*metric, file["b" + parts[2]], file["a" + parts[2]]), name,
                   {"st_lpips", quantity, "stlpips-pytorch", kBound});
    }
  }
}

/// The size of the only pair or, if there are several, of the 32 px pair.
std::string size_to_enlarge(GoldenFile& file) {
  if (file.contains("a32")) return "32";
  std::vector<std::string> sizes;
  for (const auto& [name, tensor] : file.tensors()) {
    if (name.starts_with("a") && name.find('.') == std::string::npos) sizes.push_back(name.substr(1));
  }
  REQUIRE_MESSAGE(sizes.size() == 1, "which of the pairs (" << join(sizes, ", ") << ") was enlarged is not known");
  return sizes.front();
}

/// The pair of `size` as passed to piq, in [-1, 1] with b clamped; if the file has no pair of that size, the 32 px pair
/// in [0, 1], resized (bicubic) and clamped.
std::pair<Tensor, Tensor> pair_for_piq(GoldenFile& file, const std::string& size) {
  const auto unit = [](const Tensor& x) { return ((x + 1) / 2).clamp(0, 1); };
  if (file.contains("a" + size)) return {file["b" + size].clamp(-1, 1), file["a" + size]};
  const std::int64_t side = std::stoll(size);
  const auto resized = [&](const Tensor& x) {
    return at::upsample_bicubic2d(unit(x), {side, side}, /*align_corners=*/false).clamp(0, 1) * 2 - 1;
  };
  const std::string small = size_to_enlarge(file);
  return {resized(file["b" + small]), resized(file["a" + small])};
}

/// SSIM and its contrast-structure factor as piq computes them: variances as E[x^2] - E[x]^2, in the images' precision.
/// [B, C] each, of images in [0, 1].
std::pair<Tensor, Tensor> similarity_of_piq(const Tensor& x, const Tensor& y) {
  // Also computed in the images' precision: most of the rounding is that its sum is not exactly 1.
  const Tensor squares = (at::arange(11, x.options()) - 5).square();
  const Tensor window = ((squares.unsqueeze(0) + squares.unsqueeze(1)) / -(2 * 1.5 * 1.5)).exp();
  const Tensor kernel = (window / window.sum()).repeat({x.size(1), 1, 1, 1});
  const std::int64_t one = 1, no_padding = 0;
  const auto local_mean = [&](const Tensor& image) {
    return at::conv2d(image, kernel, {}, one, no_padding, one, image.size(1));
  };
  const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
  const Tensor mean_x = local_mean(x), mean_y = local_mean(y);
  const Tensor variance_x = local_mean(x * x) - mean_x * mean_x, variance_y = local_mean(y * y) - mean_y * mean_y;
  const Tensor covariance = local_mean(x * y) - mean_x * mean_y;
  const Tensor structure = (2 * covariance + c2) / (variance_x + variance_y + c2);
  const Tensor luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1);
  return {(luminance * structure).mean({2, 3}), structure.mean({2, 3})};
}

/// SSIM, or MS-SSIM at sizes that are large enough for all five scales.
Tensor formula_of_piq(const std::string& name, Tensor x, Tensor y) {
  if (name == "ssim") return similarity_of_piq(x, y).first.mean(1);
  const std::vector<double> weights = {.0448, .2856, .3001, .2363, .1333};
  Tensor product = at::ones({x.size(0), x.size(1)}, x.options());
  for (std::size_t scale = 0; scale < weights.size(); ++scale) {
    const auto [whole, structure] = similarity_of_piq(x, y);
    product = product * (scale + 1 == weights.size() ? whole : structure).relu().pow(weights[scale]);
    const std::int64_t odd = x.size(2) % 2;
    for (Tensor* image : {&x, &y}) *image = at::avg_pool2d(at::replication_pad2d(*image, {odd, 0, odd, 0}), 2);
  }
  return product.mean(1);
}

/// piq's SSIM shrinks images to about 256 px if they are larger.
Tensor shrunk(const std::string& name, const Tensor& x) {
  const auto factor = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(x.size(2)) / 256));
  return name == "ssim" && factor > 1 ? at::avg_pool2d(x, factor) : x;
}

/// Compares our similarity in float32 with the golden. The golden's own rounding (E[x^2] - E[x]^2 cancels for smooth
/// images; ours centres them first) is added to the bound, measured with its formula in both precisions. Also compares
/// with that formula in double precision.
void check_ssim(GoldenFile& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    const auto parts = parts_of(name);
    if (parts[0] != "ssim" && parts[0] != "ms_ssim") continue;
    const auto [b, a] = pair_for_piq(file, parts.at(2));
    const Tensor prediction = shrunk(parts[0], b), target = shrunk(parts[0], a);
    const auto metric = make_metric(parts[0], "", prediction.size(2));
    const auto formula = [&, type = parts[0]](at::ScalarType precision) {
      return formula_of_piq(type, (prediction.to(precision) + 1) / 2, (target.to(precision) + 1) / 2);
    };
    const Tensor exact = 1 - measure(*metric, prediction.to(at::kDouble), target.to(at::kDouble));
    const std::string peer = "piq";
    measured({parts[0], "similarity, in double precision against the peer's formula", peer, 1e-6}, file.version(peer),
             file.name() + ": " + name, max_relative_difference(exact, formula(at::kDouble)));
    const double rounding = max_relative_difference(formula(at::kFloat), formula(at::kDouble));
    const Tensor value = 1 - measure(*metric, prediction, target);
    CHECK(max_relative_difference(value, exact) < kBound);
    file.compare(value, name, {parts[0], "similarity", peer, kBound}, rounding);
  }
}

TEST_CASE("metrics agree with lpips, stlpips-pytorch and piq") {
  for (const auto& path : golden_files("metrics", ".safetensors")) {
    GoldenFile file(path);
    check_lpips(file, "upstream");
    check_st_lpips(file);
    check_ssim(file);
    file.finish({""});
  }
}

TEST_CASE("LPIPS in the form that is safe for training agrees with lpips, too") {
  for (const auto& path : golden_files("metrics", ".safetensors")) {
    GoldenFile file(path);
    check_lpips(file, "safe");
  }
}

}  // namespace
}  // namespace casdm
