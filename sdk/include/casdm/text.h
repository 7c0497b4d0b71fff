#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// The arguments written one after another: `text("got ", 3, " of ", 4)`.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// `parts` with `separator` between them.
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// `text`, safe to print on a terminal: control characters but newlines and tabs, marks that change
/// the direction of writing, and bytes that are not UTF-8 are escaped (`\x1b`, `\u202e`).
std::string printable(std::string_view text);

/// `text` in double quotes, for messages that show what a file, a name or an argument holds: like
/// `printable`, with newlines, tabs, quotes and backslashes escaped too. Of a longer text the first
/// `most` characters and "...".
std::string quoted(std::string_view text, std::size_t most = 80);
// By value: else argument-dependent look-up would prefer std::quoted, which escapes nothing.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
inline std::string quoted(std::string text, std::size_t most = 80) { return quoted(std::string_view(text), most); }
inline std::string quoted(const char* text, std::size_t most = 80) { return quoted(std::string_view(text), most); }

/// The shortest decimal form that reads back as the same number; always with a point or an
/// exponent, so that it stays a float in TOML.
std::string number(double value);

/// The entries of `candidates` nearest to `word` by edit distance, best first, at most `most`;
/// empty when none is near enough to be a likely misspelling, or `word` is longer than any name.
std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates,
                                 std::size_t most = 3);

}  // namespace casdm
