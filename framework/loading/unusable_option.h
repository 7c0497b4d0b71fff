#pragma once

#include <string>

#include "casdm/options.h"

namespace casdm {

/// What is wrong with the options of a component of a library that is only listed: "the option "a", which ...". Empty:
/// nothing. They have plain names, each once, and printable texts, and neither keep the host busy nor crash it: none
/// has a number or expression that costs more than it says.
std::string unusable_options(const OptionSchema& options);

}  // namespace casdm
