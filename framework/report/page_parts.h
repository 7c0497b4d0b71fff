#pragma once

#include <string_view>

namespace casdm {

/// The style and the script of every report.
extern const std::string_view kPageStyle;
extern const std::string_view kPageScript;

}  // namespace casdm
