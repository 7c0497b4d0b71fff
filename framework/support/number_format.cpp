#include "framework/support/number_format.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "casdm/text.h"

namespace casdm {

std::string duration(double seconds) {
  const auto total = static_cast<std::int64_t>(std::max(0.0, std::round(seconds)));
  char buffer[32];
  if (total < 60) {
    std::snprintf(buffer, sizeof(buffer), "%ds", static_cast<int>(total));
  } else if (total < 3600) {
    std::snprintf(buffer, sizeof(buffer), "%dm%02ds", static_cast<int>(total / 60), static_cast<int>(total % 60));
  } else {
    std::snprintf(buffer, sizeof(buffer), "%dh%02dm", static_cast<int>(total / 3600),
                  static_cast<int>(total / 60 % 60));
  }
  return buffer;
}

std::string significant(double value, int digits) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.*g", digits, value);
  return buffer;
}

std::string three_digits(double value) {
  return std::abs(value) < 999.5 ? significant(value) : std::to_string(std::llround(value));
}

std::string short_count(double value) {
  const char* suffix = value >= 1e9 ? "G" : value >= 1e6 ? "M" : value >= 1e4 ? "k" : "";
  const double scaled = value >= 1e9 ? value / 1e9 : value >= 1e6 ? value / 1e6 : value >= 1e4 ? value / 1e3 : value;
  char buffer[32];
  const int decimals = *suffix == '\0' ? (value < 100 ? 1 : 0) : scaled < 10 ? 2 : scaled < 100 ? 1 : 0;
  std::snprintf(buffer, sizeof(buffer), "%.*f%s", value == std::floor(value) && *suffix == '\0' ? 0 : decimals, scaled,
                suffix);
  return buffer;
}

std::string limit(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return std::to_string(static_cast<std::int64_t>(value));
  return number(value);
}

std::string size_text(double bytes) {
  constexpr double kMiB = 1024.0 * 1024;
  constexpr double kGiB = 1024 * kMiB;
  if (bytes < kGiB) return text(std::llround(bytes / kMiB), " MiB");
  return bytes < 10 * kGiB ? text(number(std::round(bytes / kGiB * 10) / 10), " GiB")
                           : text(std::llround(bytes / kGiB), " GiB");
}

}  // namespace casdm
