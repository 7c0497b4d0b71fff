#include "casdm/safetensors.h"
#include "metrics/contract.h"
#include "metrics/lpips_weights.h"
#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

/// DISTS with made-up weights, after `alter` has changed them.
class Dists {
 public:
  explicit Dists(
      void (*alter)(NamedTensors&) = [](NamedTensors&) {}, std::int64_t channels = 3) {
    NamedTensors state = dists_state();
    alter(state);
    write_safetensors(path(), state);
    metric = make_metric("dists", option(), 32, channels);
  }

  std::string option() const { return "weights = \"" + path().string() + "\""; }

  std::shared_ptr<MetricLoss> metric;

 private:
  std::filesystem::path path() const { return folder_.path() / "dists.safetensors"; }

  TemporaryFolder folder_;
};

/// Keeps only one weight of alpha or beta, so that the distance is the texture or structure of a single channel.
Tensor& weight(NamedTensors& state, const std::string& name) {
  for (auto& [known, tensor] : state) {
    if (known == "alpha" || known == "beta") tensor.zero_();
  }
  for (auto& [known, tensor] : state) {
    if (known == name) return tensor;
  }
  throw Error("no " + name);
}

TEST_CASE("DISTS fulfils the contract") {
  const Dists dists;
  check_contract({{"dists", dists.option(), 16, false}});
}

TEST_CASE("the texture of an image channel is the closed form of its means") {
  const Dists dists([](NamedTensors& state) { weight(state, "alpha")[0][1] = 3.0F; });
  const Tensor x = fill(1, {2, 3, 32, 32}), y = fill(2, {2, 3, 32, 32});
  const Tensor mx = ((x.select(1, 1) + 1) / 2).mean({1, 2}), my = ((y.select(1, 1) + 1) / 2).mean({1, 2});
  const Tensor expected = 1 - (2 * mx * my + 1e-6) / (mx.square() + my.square() + 1e-6);
  CHECK((measure(*dists.metric, x, y) - expected).abs().max().item<double>() < 1e-6);
}

TEST_CASE("the structure of an image channel is the closed form of its covariance") {
  const Dists dists([](NamedTensors& state) { weight(state, "beta")[0][2] = 0.1F; });
  const Tensor x = fill(1, {2, 3, 32, 32}), y = fill(2, {2, 3, 32, 32});
  const Tensor a = ((x.select(1, 2) + 1) / 2).flatten(1).to(at::kDouble),
               b = ((y.select(1, 2) + 1) / 2).flatten(1).to(at::kDouble);
  const Tensor covariance = (a * b).mean(1) - a.mean(1) * b.mean(1);
  const Tensor expected = 1 - (2 * covariance + 1e-6) / (a.var(1, false) + b.var(1, false) + 1e-6);
  CHECK(max_relative_difference(measure(*dists.metric, x, y), expected) < 1e-5);
  // Brightness does not change the structure.
  CHECK(measure(*dists.metric, x * 0.5 + 0.3, x * 0.5).abs().max().item<double>() < 1e-6);
}

TEST_CASE("an image is at distance exactly 0 from itself, and at most 2 from its negative") {
  const Dists dists;
  const Tensor x = fill(1, {2, 3, 32, 32});
  CHECK(at::equal(measure(*dists.metric, x, x), at::zeros({2})));
  CHECK(at::equal(gradient_of(*dists.metric, x, x), at::zeros({2, 3, 32, 32})));
  const Tensor far = measure(*dists.metric, x, -x);
  CHECK(far.min().item<double>() > 0);
  CHECK(far.max().item<double>() < 2);
}

TEST_CASE("constant images and dead features have finite gradients") {
  const Dists silent([](NamedTensors& state) {
    for (auto& [name, tensor] : state) {
      if (name.starts_with("net.slice1.")) tensor.zero_();
    }
  });
  const Tensor x = fill(1, {1, 3, 32, 32});
  for (const Tensor& image : {at::zeros({1, 3, 32, 32}), at::full({1, 3, 32, 32}, -1.0), x * 1e4}) {
    for (const Tensor& target : {at::zeros({1, 3, 32, 32}), x}) {
      CHECK(is_finite(gradient_of(*silent.metric, image, target)));
      CHECK(is_finite(gradient_of(*Dists().metric, image, target)));
    }
  }
}

TEST_CASE("odd sizes and non-square images are pooled to half, rounded up") {
  const Dists dists;
  for (const std::vector<std::int64_t>& sizes : {std::vector<std::int64_t>{1, 3, 17, 23}, {1, 3, 16, 31}}) {
    const Tensor x = fill(1, sizes), y = fill(2, sizes);
    CHECK(measure(*dists.metric, x, y).item<double>() > 0);
    CHECK(is_finite(gradient_of(*dists.metric, x, y)));
  }
}

TEST_CASE("DISTS refuses weights that are not its own, and images that are neither RGB nor grey") {
  CHECK_THROWS_WITH_AS(Dists([](NamedTensors& state) { state.pop_back(); }), doctest::Contains("missing std"), Error);
  CHECK_THROWS_WITH_AS(Dists([](NamedTensors& state) { weight(state, "beta"); }), doctest::Contains("all 0"), Error);
  CHECK_THROWS_WITH_AS(Dists([](NamedTensors& state) { weight(state, "beta")[0][0] = -1.0F; }),
                       doctest::Contains("negative"), Error);
  CHECK_THROWS_AS(Dists([](NamedTensors&) {}, 4), ConfigError);
  CHECK(Dists([](NamedTensors&) {}, 1).metric->info().channels == 1);
}

}  // namespace
}  // namespace casdm
