#include <map>

#include "casdm/safetensors.h"
#include "metrics/lpips_weights.h"
#include "metrics/metrics.h"
#include "samplers/golden.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kBound = 1e-5;       // two fp32 implementations that sum in different orders
constexpr double kBoundOfPiq = 2e-5;  // see check_ssim

/// A golden's name in its parts: "lpips.vgg.32.layer0" -> lpips, vgg, 32, layer0.
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

/// "[\"a\", \"b\"]" of the metadata.
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

/// The term of one tap: the metric with all other heads 0.
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
    const Tensor value = parts.size() > 3 ? one_layer(*metric, std::stoll(parts[3].substr(5)), prediction, target)
                                          : measure(*metric, prediction, target);
    file.compare(value, name, kBound);
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
      file.compare(measure(*metric, file["b" + parts[2]], file["a" + parts[2]]), name, kBound);
    }
  }
}

/// The pair of `size` as piq was given it, in [-1, 1]: b clamped; where the file has no pair of that size, the 32 px
/// pair in [0, 1], resized (bicubic) and clamped.
std::pair<Tensor, Tensor> pair_for_piq(GoldenFile& file, const std::string& size) {
  const auto unit = [](const Tensor& x) { return ((x + 1) / 2).clamp(0, 1); };
  if (file.contains("a" + size)) return {file["b" + size].clamp(-1, 1), file["a" + size]};
  const std::int64_t side = std::stoll(size);
  const auto resized = [&](const Tensor& x) {
    return at::upsample_bicubic2d(unit(x), {side, side}, /*align_corners=*/false).clamp(0, 1) * 2 - 1;
  };
  return {resized(file["b32"]), resized(file["a32"])};
}

void check_ssim(GoldenFile& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    const auto parts = parts_of(name);
    if (parts[0] != "ssim" && parts[0] != "ms_ssim") continue;
    const auto [prediction, target] = pair_for_piq(file, parts.at(2));
    const auto metric = make_metric(parts[0], "", std::stoll(parts[2]));
    const Tensor value = 1 - measure(*metric, prediction, target);
    // piq takes variances as E[x^2] - E[x]^2 in fp32: its own SSIM at 64 px is 1.14e-5 off the same formula in fp64.
    file.compare(value, name, parts[0] == "ssim" ? kBoundOfPiq : kBound);
    const Tensor exact = 1 - measure(*metric, prediction.to(at::kDouble), target.to(at::kDouble));
    CHECK(max_relative_difference(value, exact) < kBound);
  }
}

TEST_CASE("metrics agree with lpips 0.1.4, stlpips-pytorch 0.0.2 and piq 0.8.0") {
  for (const auto& path : golden_files("metrics", ".safetensors")) {
    GoldenFile file(path);
    SUBCASE("LPIPS and the rest, normalised as published") {
      check_lpips(file, "upstream");
      check_st_lpips(file);
      check_ssim(file);
      file.finish({""});
    }
    SUBCASE("LPIPS in the form safe to train with, whose values agree too") {
      check_lpips(file, "safe");
      file.finish({});
    }
  }
}

}  // namespace
}  // namespace casdm
