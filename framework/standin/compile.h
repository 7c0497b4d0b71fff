#pragma once

#include <string>

namespace casdm::standin {

/// The function `run` of the C++ code `source`, compiled for the CPU; the declarations that CUDA provides without an
/// include precede it. Sums and products are not contracted. What has been compiled is kept in kernel_folder().
/// @param name  for messages
void* compiled(const std::string& name, const std::string& source);

}  // namespace casdm::standin
