#include "metrics/contract.h"

#include <cmath>

#include "metrics/metrics.h"

namespace casdm::testing {
namespace {

/// Runs `check(metric, case)` for each metric, with its name in failures.
template <class Check>
void for_each_metric(const std::vector<MetricCase>& cases, const Check& check) {
  for (const MetricCase& c : cases) {
    INFO(c.type, " at ", c.size, " px: ", c.options);
    check(*make_metric(c.type, c.options, c.size), c);
  }
}

Tensor image(std::uint64_t seed, const MetricCase& c, std::int64_t batch = 2) {
  return fill(seed, {batch, 3, c.size, c.size});
}

}  // namespace

void check_contract(const std::vector<MetricCase>& cases) {
  SUBCASE("a metric takes images of the smallest size it declares") {
    for_each_metric(cases,
                    [](MetricLoss& metric, const MetricCase& c) { CHECK(metric.info().minimum_size <= c.size); });
  }
  SUBCASE("a metric returns one distance per image within its declared range") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      const Tensor value = measure(metric, image(1, c), image(2, c));
      REQUIRE(value.sizes() == at::IntArrayRef({2}));
      const double slack = 1e-6;  // rounding
      CHECK(value.min().item<double>() >= metric.info().lowest - slack);
      CHECK(value.max().item<double>() <= metric.info().highest + slack);
    });
  }
  SUBCASE("identical images have the lowest distance and a finite gradient") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      REQUIRE(metric.info().is_zero_at_identity);
      const Tensor x = image(1, c);
      // 1 - SSIM in float32 has rounding errors of a few units in the last place of 1.
      CHECK(measure(metric, x, x).abs().max().item<double>() <= metric.info().lowest + 1e-6);
      CHECK(is_finite(gradient_of(metric, x, x)));
    });
  }
  SUBCASE("constant images have finite distances and gradients") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      for (const double level : {-1.0, 0.0, 1.0}) {
        const Tensor constant = at::full({2, 3, c.size, c.size}, level);
        for (const auto& [x, y] : {std::pair{constant, image(2, c)}, {image(2, c), constant}, {constant, constant}}) {
          CHECK(is_finite(measure(metric, x, y)));
          CHECK(is_finite(gradient_of(metric, x, y)));
        }
      }
    });
  }
  SUBCASE("predictions far out of range have finite distances and gradients") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      for (const Tensor& x : {image(1, c) * 1e4, at::full({2, 3, c.size, c.size}, 1e4)}) {
        CHECK(is_finite(measure(metric, x, image(2, c))));
        CHECK(is_finite(gradient_of(metric, x, image(2, c))));
      }
    });
  }
  SUBCASE("the images of a batch do not influence one another") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      const Tensor x = image(1, c, 3), y = image(2, c, 3);
      const Tensor together = measure(metric, x, y);
      for (std::int64_t i = 0; i < 3; ++i) {
        const Tensor alone = measure(metric, x.narrow(0, i, 1), y.narrow(0, i, 1));
        CHECK(max_relative_difference(together.narrow(0, i, 1), alone) < 1e-5);
      }
    });
  }
  SUBCASE("a symmetric metric is symmetric") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      if (!metric.info().is_symmetric) return;
      const Tensor x = image(1, c), y = image(2, c);
      CHECK(max_relative_difference(measure(metric, x, y), measure(metric, y, x)) < 1e-5);
    });
  }
  SUBCASE("gradients agree with central differences in double precision") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase& c) {
      const Tensor x = image(1, c).to(at::kDouble) * 0.9, y = image(2, c).to(at::kDouble) * 0.9;
      const Tensor gradient = gradient_of(metric, x, y);
      CHECK((gradient.scalar_type() == at::kDouble));
      // Random directions; away from kinks, the error of central differences is of order step^2.
      const double step = c.is_smooth ? 1e-5 : 1e-7;
      for (std::uint64_t direction = 10; direction < 13; ++direction) {
        const Tensor v = image(direction, c).to(at::kDouble);
        const double expected =
            ((measure(metric, x + step * v, y) - measure(metric, x - step * v, y)).sum() / (2 * step)).item<double>();
        CHECK((gradient * v).sum().item<double>() == doctest::Approx(expected).epsilon(1e-4));
      }
    });
  }
  SUBCASE("a metric has nothing to train") {
    for_each_metric(cases, [](MetricLoss& metric, const MetricCase&) {
      CHECK(metric.parameters().empty());
      for (const auto& [name, tensor] : metric.buffers()) CHECK_FALSE(tensor.requires_grad());
    });
  }
}

}  // namespace casdm::testing
