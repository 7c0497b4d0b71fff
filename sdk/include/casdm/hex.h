#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// Two lower-case hexadecimal digits for each byte.
std::string hexadecimal(const unsigned char* data, std::size_t size);

/// All 16 digits.
std::string hexadecimal(std::uint64_t number);

}  // namespace casdm
