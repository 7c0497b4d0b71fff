#include <cmath>

#include "casdm/beta_schedule.h"
#include "casdm/testing.h"
#include "casdm/timestep_sampler.h"

using casdm::testing::check;

namespace {

casdm::TimestepDraw draw(double power, const std::vector<double>& u) {
  const casdm::TimestepSampler::Spec spec{std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03))};
  return casdm::testing::make<casdm::TimestepSampler>("template_name", casdm::Value::Table{{"power", power}}, spec)
      ->draw(u);
}

/// Numbers spread evenly over [0, 1).
std::vector<double> numbers(int count) {
  std::vector<double> u;
  for (int i = 0; i < count; ++i) u.push_back((i + 0.5) / count);
  return u;
}

}  // namespace

int main() {
  const casdm::TimestepDraw plain = draw(1.0, {0.0, 0.25, 0.999});
  check(plain.t == std::vector<double>{0, 25, 99}, "power 1 is uniform");

  constexpr int kCount = 100000;
  const casdm::TimestepDraw square = draw(2.0, numbers(kCount));
  int early = 0;
  double weighted = 0;
  for (std::size_t i = 0; i < square.t.size(); ++i) {
    early += square.t[i] < 25 ? 1 : 0;
    weighted += square.weight[i] * static_cast<double>(square.t[i]) / kCount;
  }
  check(std::abs(early - kCount / 2) <= 1, "half of the draws are in the first quarter");
  check(std::abs(weighted - 49.5) < 0.05, "weighted, the mean of t is that of uniform timesteps");
  return casdm::testing::result();
}
