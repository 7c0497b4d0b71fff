#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace casdm::testing {

struct MetricCase {
  std::string type;
  std::string options = {};
  std::int64_t size = 16;  ///< of the images
  bool is_smooth = true;   ///< false: piecewise linear inside, so that only tiny steps stay between two kinks
};

/// What metric_loss.h promises, of each metric, as subcases of the test case that calls it.
void check_contract(const std::vector<MetricCase>& cases);

}  // namespace casdm::testing
