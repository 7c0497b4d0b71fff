#pragma once

#include <exception>
#include <string>

namespace casdm {

/// What an exception says, without the stack of calls that LibTorch's own carry.
std::string exception_text(const std::exception& error);

}  // namespace casdm
