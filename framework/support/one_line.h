#pragma once

#include <string>
#include <string_view>

#include "casdm/text.h"

namespace casdm {

/// `printable`, with line breaks and tabs escaped too: for names and values from elsewhere, which must not begin a line
/// of what is printed.
inline std::string one_line(std::string_view content) {
  std::string result;
  for (const char c : printable(content)) result += c == '\n' ? "\\n" : c == '\t' ? "\\t" : std::string(1, c);
  return result;
}

}  // namespace casdm
