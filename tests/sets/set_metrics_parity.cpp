#include "casdm/text.h"
#include "sets/sets.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kExact = 1e-10;  // float64 on both sides
constexpr double kBound = 1e-6;   // features kept or multiplied in float32

Tensor score(const std::vector<Score>& scores, const std::string& name) {
  for (const Score& score : scores) {
    if (score.name == name) return at::tensor({score.value}, at::kDouble);
  }
  FAIL("no score is called ", name);
  return {};
}

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

/// The score that the file calls `parts`, computed from its sets of features.
Tensor computed(const std::vector<std::string>& parts, GoldenFile& file) {
  const Tensor x = file["x"], y = file["y"];
  const std::string& metric = parts[0];
  const std::string all = text("images = ", x.size(0) + 2000);
  if (metric == "frechet") return score(compare(*make_set_metric(metric, x.size(1)), x, y), metric);
  if (metric == "frechet_spatial") {
    const Tensor a = fill(7, {40, 2023}), b = 0.5 * fill(8, {30, 2023}).to(at::kDouble) + 0.1;
    return score(compare(*make_set_metric("frechet", 2023), a, b.to(at::kFloat)), "frechet");
  }
  if (metric == "kernel_distance") {
    return score(compare(*make_set_metric(metric, x.size(1), all + "\nsubsets = 0"), x, y), metric);
  }
  if (metric == "precision_recall") {
    const auto made = make_set_metric(metric, x.size(1), all + "\nneighbours = " + parts[2]);
    return score(compare(*made, x, y), parts[1]);
  }
  if (metric == "mmd") {
    const std::string length = parts[2] == "unit" ? "true" : "false";
    return score(compare(*make_set_metric(metric, x.size(1), all + "\nunit_length = " + length), x, y), metric);
  }
  if (metric == "inception_score") {
    const Tensor logits = file["logits"];
    const auto made = make_set_metric(metric, logits.size(1), text("split_size = ", logits.size(0) / 10));
    return score(made->compare(set_of(*made, logits), made->start()), metric);
  }
  REQUIRE(metric == "sliced_wasserstein");
  const Tensor a = x.narrow(1, 0, 1), b = y.narrow(1, 0, 1).narrow(0, 0, 150);
  return score(compare(*make_set_metric(metric, 1), a, b), metric);
}

TEST_CASE("scores of sets of features agree with those of common tools") {
  for (const auto& path : golden_files("set_metrics", ".safetensors")) {
    GoldenFile file(path);
    for (const auto& [name, tensor] : file.tensors()) {
      const std::vector<std::string> parts = parts_of(name);
      if (parts.size() < 2) continue;
      const bool has_numbers = parts[0] == "precision_recall";
      const std::string& peer = parts[has_numbers ? 3 : 1];
      const bool is_exact = parts[0].starts_with("frechet") || parts[0] == "inception_score";
      // torchmetrics takes the roots of a product's eigenvalues, and torch-fidelity computes in float32.
      const bool is_rounded = peer == "torchmetrics" || has_numbers;
      const bool is_spatial = parts[0] == "frechet_spatial";
      file.compare(computed(parts, file), name,
                   {is_spatial ? "frechet" : parts[0],
                    has_numbers  ? parts[1]
                    : is_spatial ? "score of 2023 spatial features"
                                 : "score",
                    peer, is_exact && !is_rounded ? kExact : kBound});
    }
    file.finish({""});
  }
}

}  // namespace
}  // namespace casdm
