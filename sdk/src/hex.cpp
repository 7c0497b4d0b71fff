#include "casdm/hex.h"

namespace casdm {

namespace {

constexpr char kDigits[] = "0123456789abcdef";

}  // namespace

std::string hexadecimal(const unsigned char* data, std::size_t size) {
  std::string result;
  for (std::size_t i = 0; i < size; ++i) result += {kDigits[data[i] >> 4], kDigits[data[i] & 15]};
  return result;
}

std::string hexadecimal(std::uint64_t number) {
  std::string result;
  for (int shift = 60; shift >= 0; shift -= 4) result += kDigits[(number >> shift) & 15];
  return result;
}

}  // namespace casdm
