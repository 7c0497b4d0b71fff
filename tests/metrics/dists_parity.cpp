#include "casdm/safetensors.h"
#include "metrics/lpips_weights.h"
#include "metrics/metrics.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kBoundSingle = 1e-5;   // two fp32 implementations that sum in different orders
constexpr double kBoundDouble = 1e-11;  // the same in fp64

/// DISTS with the filled trunk and the golden file's alpha and beta, which are the authors'.
std::shared_ptr<MetricLoss> golden_dists(GoldenFile& file, std::int64_t size) {
  NamedTensors state = dists_state();
  for (auto& [name, tensor] : state) {
    if (name == "alpha" || name == "beta") tensor = file[name];
  }
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "weights.safetensors";
  write_safetensors(path, state);
  return make_metric("dists", "weights = \"" + path.string() + "\"", size);
}

/// The pairs of images, which are the same as in metrics.safetensors.
TensorFile images() {
  const std::filesystem::path chosen = parity_dir() / "metrics.safetensors";
  const std::filesystem::path committed = source_dir() / "tests" / "parity" / "references" / "metrics.safetensors";
  return read_safetensors(std::filesystem::exists(chosen) ? chosen : committed);
}

TEST_CASE("DISTS agrees with DISTS-pytorch 0.1: values in single and double precision, and the gradient") {
  for (const auto& path : golden_files("dists", ".safetensors")) {
    GoldenFile file(path);
    const TensorFile pairs = images();
    const std::string peer = "DISTS-pytorch";
    for (const auto& [name, tensor] : file.tensors()) {
      if (!name.starts_with("dists.")) continue;
      const std::string size = name.substr(name.rfind('.') + 1);
      const auto metric = golden_dists(file, std::stoll(size));
      const Tensor prediction = pairs.at("b" + size), target = pairs.at("a" + size);
      if (name.starts_with("dists.double.")) {
        const Tensor exact = measure(*metric, prediction.to(at::kDouble), target.to(at::kDouble));
        file.compare(exact, name, {"dists", "distance, in double precision", peer, kBoundDouble});
        CHECK(max_relative_difference(measure(*metric, prediction, target), exact) < kBoundSingle);
      } else if (name.starts_with("dists.gradient.")) {
        file.compare(gradient_of(*metric, prediction, target), name, {"dists", "gradient", peer, kBoundSingle});
        const Tensor exact = gradient_of(*metric, prediction.to(at::kDouble), target.to(at::kDouble));
        CHECK(max_relative_difference(gradient_of(*metric, prediction, target), exact) < kBoundSingle);
      } else {
        file.compare(measure(*metric, prediction, target), name, {"dists", "distance", peer, kBoundSingle});
      }
    }
    file.finish({""});
  }
}

}  // namespace
}  // namespace casdm
