#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/device.h"

namespace casdm::testing {

void compute_in(Precision precision) {
  RunOptions run;
  run.device = "cuda";
  run.precision = precision;
  select_device(run);
}

std::vector<std::string> on_cuda(std::vector<std::string> overrides) {
  overrides.emplace_back("run.device=cuda");
  return overrides;
}

double relative_difference(double a, double b) {
  const double difference = std::abs(a - b) / std::max({std::abs(a), std::abs(b), 1e-9});
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

LineDifference difference(const Value& line, const Value& other) {
  LineDifference result;
  for (const auto& [name, term] : line.find("loss")->as_table()) {
    const double theirs = other.find("loss")->find(name)->find("mean")->as_number();
    result.loss = std::max(result.loss, relative_difference(term.find("mean")->as_number(), theirs));
  }
  for (const auto& [name, norm] : line.find("grad_norm")->as_table()) {
    // In fp16 a skipped step has none.
    const Value* theirs = other.find("grad_norm")->find(name);
    const bool has_both = norm.is_number() && theirs != nullptr && theirs->is_number();
    result.gradient = std::max(result.gradient, has_both ? relative_difference(norm.as_number(), theirs->as_number())
                                                         : std::numeric_limits<double>::infinity());
  }
  return result;
}

}  // namespace casdm::testing
