#pragma once

#include <string>

namespace casdm::standin {

/// The function `run` of the C++ text `source`, compiled for the CPU; what CUDA offers without an include comes before
/// it. Sums and products are not contracted.
/// @param name  for messages
void* compiled(const std::string& name, const std::string& source);

}  // namespace casdm::standin
