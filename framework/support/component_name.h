#pragma once

#include <string>

namespace casdm {

/// A component's name without its plugin's: "component" of "plugin/component" and of "component".
inline std::string component_name(const std::string& type) { return type.substr(type.find('/') + 1); }

}  // namespace casdm
