#pragma once

#include <regex>
#include <string>

namespace casdm {

/// An option's pattern, which may be anybody's. Instead of following one way through it after the other, which may take
/// time exponential in the text, matching follows all ways at once (libstdc++'s `__polynomial`). Throws
/// std::regex_error if it is no regular expression of ECMAScript, or has back-references, which need the former.
inline std::regex compile_pattern(const std::string& pattern) {
  return std::regex(pattern, std::regex::ECMAScript | std::regex::nosubs | std::regex_constants::__polynomial);
}

}  // namespace casdm
