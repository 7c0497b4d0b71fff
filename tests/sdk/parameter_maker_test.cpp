#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/parameter_maker.h"

using namespace casdm;

TEST_CASE("a parameter depends on the seed and its name, not on what was made before") {
  ParameterMaker alone(7), after(7), other(8);
  after.normal("first", {3});
  const Tensor a = alone.layer("conv", {4, 3, 3, 3}).weight;
  const Tensor b = after.layer("conv", {4, 3, 3, 3}).weight;
  CHECK(a.equal(b));
  CHECK_FALSE(a.equal(other.layer("conv", {4, 3, 3, 3}).weight));
  CHECK_FALSE(a.equal(alone.uniform("another", {4, 3, 3, 3}, 27)));
}

TEST_CASE("a layer is uniform within 1 / sqrt(fan in), a normal parameter has its standard deviation") {
  ParameterMaker make(1);
  const auto [weight, bias] = make.layer("conv", {64, 16, 3, 3});
  const double bound = 1.0 / 12;
  CHECK(bias.sizes() == at::IntArrayRef({64}));
  CHECK(weight.abs().max().item<double>() <= bound);
  CHECK(bias.abs().max().item<double>() <= bound);
  // The variance of U(-b, b) is b^2 / 3; for 9216 draws its estimate has a relative standard deviation of 0.9 %.
  CHECK(weight.var().item<double>() == doctest::Approx(bound * bound / 3).epsilon(0.05));
  CHECK(make.normal("table", {100, 100}, 0.5).std().item<double>() == doctest::Approx(0.5).epsilon(0.04));
  CHECK(make.zero_layer("out", {2, 64, 1, 1}).weight.eq(0).all().item<bool>());
}

TEST_CASE("made() returns the handles in order, and they require gradients") {
  ParameterMaker make(1);
  const Tensor scale = make.constant("scale", {2}, 1);
  make.layer("out", {2, 2});
  REQUIRE(make.made().size() == 3);
  CHECK(make.made()[0].second.is_same(scale));
  CHECK(make.made()[1].first == "out.weight");
  CHECK(make.made()[2].first == "out.bias");
  for (const auto& [name, tensor] : make.made()) CHECK(tensor.requires_grad());
}

TEST_CASE("making parameters does not touch the global generator") {
  const Tensor before = at::globalContext().defaultGenerator(at::kCPU).get_state().clone();
  ParameterMaker(1).normal("table", {10});
  CHECK(at::globalContext().defaultGenerator(at::kCPU).get_state().equal(before));
}

TEST_CASE("a parameter too large for the free memory is refused before the system kills the process") {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  ParameterMaker make(1);
  const auto refused = doctest::Contains("of memory are free; make the network smaller");
  CHECK_THROWS_WITH_AS(make.layer("out", {kHuge, 3}), refused, ConfigError);
  CHECK_THROWS_WITH_AS(make.normal("table", {kHuge}), doctest::Contains("\"table\""), ConfigError);
  CHECK_THROWS_WITH_AS(make.constant("scale", {kHuge, kHuge, kHuge}, 1), refused, ConfigError);
  CHECK(make.made().empty());
}
