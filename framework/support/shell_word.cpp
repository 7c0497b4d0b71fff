#include "framework/support/shell_word.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "casdm/text.h"

namespace casdm {

namespace {

/// As $'...', which bash and zsh read: what is printed replaces such bytes, so they cannot be pasted.
std::string escaped(const std::string& word) {
  std::string result = "$'";
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    char hexadecimal[8];
    std::snprintf(hexadecimal, sizeof(hexadecimal), "\\x%02x", byte);
    const bool is_kept = byte >= 0x20 && byte < 0x7f && c != '\'' && c != '\\';
    result += is_kept ? std::string(1, c) : std::string(hexadecimal);
  }
  return result + "'";
}

}  // namespace

std::string shell_word(const std::string& word) {
  constexpr std::string_view kPlain = "%+,-./:=@_";
  const auto is_plain = [&](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80 ||
           kPlain.find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (printable(word) != word) return escaped(word);
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return word;
  std::string result = "'";
  for (const char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

}  // namespace casdm
