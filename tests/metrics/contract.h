#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace casdm::testing {

struct MetricCase {
  std::string type;
  std::string options = {};
  std::int64_t size = 16;  ///< of the images
  bool is_smooth = true;   ///< false: piecewise linear inside, so only tiny steps stay between two kinks
};

/// Checks each metric against the contract in metric_loss.h, as subcases of the calling test case.
void check_contract(const std::vector<MetricCase>& cases);

}  // namespace casdm::testing
