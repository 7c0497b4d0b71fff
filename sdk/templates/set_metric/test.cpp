#include <ATen/ATen.h>

#include <cmath>

#include "casdm/set_metric.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

namespace {

/// The state of images with the features `rows`, numbered starting with `first`.
casdm::NamedTensors set_of(const casdm::SetMetric& metric, const at::Tensor& rows, std::int64_t first = 0) {
  casdm::NamedTensors state = metric.start();
  casdm::FeatureBatch batch{rows};
  for (std::int64_t i = 0; i < rows.size(0); ++i) batch.images.push_back(first + i);
  metric.update(state, batch);
  return state;
}

}  // namespace

int main() {
  const casdm::SetMetric::Spec spec{.feature = {"features", 2, false}};
  const auto metric = make<casdm::SetMetric>("template_name", casdm::Value::Table{}, spec);
  const at::Tensor a = at::tensor({0.0, 0.0, 2.0, 2.0}).view({2, 2});  // mean (1, 1)
  const at::Tensor b = at::tensor({4.0, 5.0}).view({1, 2});
  const auto score = [](const casdm::SetMetric& metric, const casdm::NamedTensors& x, const casdm::NamedTensors& y) {
    return metric.compare(x, y).front().value;
  };
  check(std::abs(score(*metric, set_of(*metric, a), set_of(*metric, b)) - 5) < 1e-12, "from (1, 1) to (4, 5) it is 5");
  check(score(*metric, set_of(*metric, a), set_of(*metric, a)) == 0, "a set is no distance from itself");

  const auto square = make<casdm::SetMetric>("template_name", casdm::Value::Table{{"root", false}}, spec);
  check(std::abs(score(*square, set_of(*square, a), set_of(*square, b)) - 25) < 1e-12, "without the root it is 25");

  casdm::NamedTensors merged = set_of(*metric, a.narrow(0, 0, 1));
  metric->merge(merged, set_of(*metric, a.narrow(0, 1, 1), 1));
  check(score(*metric, merged, set_of(*metric, a)) == 0, "two halves are the whole");
  return casdm::testing::result();
}
