#pragma once

#include <string>

namespace casdm {

/// A component's name without the plugin's: "lpips" of "metric_lpips/lpips" and of "lpips".
inline std::string component_name(const std::string& type) { return type.substr(type.find('/') + 1); }

}  // namespace casdm
