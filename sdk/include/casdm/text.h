#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace casdm {

/// The arguments written one after another: `text("got ", 3, " of ", 4)`.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// `parts` with `separator` between them.
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// The shortest decimal form that reads back as the same number; always with a point or an
/// exponent, so that it stays a float in TOML.
std::string number(double value);

/// The entries of `candidates` nearest to `word` by edit distance, best first, at most `most`;
/// empty when none is near enough to be a likely misspelling.
std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates,
                                 std::size_t most = 3);

}  // namespace casdm
