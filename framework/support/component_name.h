#pragma once

#include <string>

#include "casdm/text.h"

namespace casdm {

/// A component's name without its plugin's: "component" of "plugin/component" and of "component".
inline std::string component_name(const std::string& type) { return type.substr(type.find('/') + 1); }

/// Whether a name that a component declares, or a file records, can be shown as it is.
inline bool is_displayable(const std::string& name) {
  return !name.empty() && printable(name) == name && name.find_first_of("\n\t\"\\") == std::string::npos;
}

}  // namespace casdm
