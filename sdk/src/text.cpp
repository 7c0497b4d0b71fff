#include "casdm/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>
#include <utility>

namespace casdm {

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string result;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) result += separator;
    result += parts[i];
  }
  return result;
}

std::string number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  std::string result(buffer, end);
  if (result.find_first_of(".e") == std::string::npos) result += ".0";
  return result;
}

namespace {

struct CodePoint {
  std::optional<char32_t> value;  ///< none: the byte is not UTF-8
  std::size_t length = 1;
};

/// The first code point of `text`, which must not be empty.
CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead};
  const std::size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) return {};
  char32_t value = lead & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3f);
  }
  const bool is_overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool is_surrogate = value >= 0xd800 && value < 0xe000;
  if (is_overlong || is_surrogate || value > 0x10ffff) return {};
  return {value, length};
}

/// Neither a control character, nor a line separator, nor a mark that changes the writing direction.
bool is_harmless(char32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
  return c != 0x61c && !(c >= 0x200e && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

/// A printable form of `first`, the first code point of `text`.
std::string shown(const CodePoint& first, std::string_view text) {
  if (first.value && is_harmless(*first.value)) return std::string(text.substr(0, first.length));
  char buffer[16];
  if (first.value && *first.value >= 0x80) {
    std::snprintf(buffer, sizeof(buffer), "\\u%04x", static_cast<unsigned>(*first.value));
  } else {
    std::snprintf(buffer, sizeof(buffer), "\\x%02x", static_cast<unsigned char>(text.front()));
  }
  return buffer;
}

std::string_view short_escape(char c) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\t':
      return "\\t";
    case '\r':
      return "\\r";
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    default:
      return "";
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (CodePoint first; !text.empty(); text.remove_prefix(first.length)) {
    first = first_code_point(text);
    const bool is_kept = text.front() == '\n' || text.front() == '\t';
    result += is_kept ? std::string(1, text.front()) : shown(first, text);
  }
  return result;
}

std::string quoted(std::string_view text, std::size_t most) {
  std::string result = "\"";
  std::size_t count = 0;
  for (CodePoint first; !text.empty() && count < most; text.remove_prefix(first.length), ++count) {
    first = first_code_point(text);
    const std::string_view escape = short_escape(text.front());
    result += escape.empty() ? shown(first, text) : std::string(escape);
  }
  return result + (text.empty() ? "\"" : "...\"");
}

namespace {

constexpr std::size_t kLongestMisspelling = 100;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates, std::size_t most) {
  if (word.size() > kLongestMisspelling) return {};
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    const bool contained = word.size() >= 3 && candidate.find(word) != std::string::npos;
    if (contained || distance <= std::max<std::size_t>(2, std::max(word.size(), candidate.size()) / 3)) {
      ranked.emplace_back(distance, candidate);
    }
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> result;
  for (std::size_t i = 0; i < std::min(most, ranked.size()); ++i) result.push_back(ranked[i].second);
  return result;
}

}  // namespace casdm
