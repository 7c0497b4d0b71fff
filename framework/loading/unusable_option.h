#pragma once

#include <string>

#include "casdm/options.h"

namespace casdm {

/// What is wrong with an option of a library that is only listed, or with one inside it; empty: nothing. It must
/// neither keep the host busy nor crash it, so it may have no number or expression that costs more than it says.
std::string unusable_option(const OptionSpec& option);

}  // namespace casdm
