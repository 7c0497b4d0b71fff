#include "framework/config/key_path.h"

#include <charconv>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"

namespace casdm {

std::string key_path(const std::string& path, const std::string& key) {
  return text(path, path.empty() ? "" : ".", to_toml_key(key));
}

std::vector<std::string> split_key_path(const std::string& path) {
  std::vector<std::string> parts{""};
  bool is_quoted = false;
  bool is_closed = false;  // after ] or a closing quote: only . or [ may follow
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (is_quoted) {
      if (c == '"') {
        is_quoted = false;
        is_closed = true;
      } else {
        parts.back() += c;
      }
    } else if (c == '"' && parts.back().empty() && !is_closed) {
      is_quoted = true;
    } else if (c == '.') {
      if (parts.back().empty() && !is_closed) return {};
      parts.emplace_back();
      is_closed = false;
    } else if (c == '[') {
      const std::size_t end = path.find(']', i);
      if (end == std::string::npos || end == i + 1 || (parts.back().empty() && !is_closed)) return {};
      parts.push_back(path.substr(i + 1, end - i - 1));
      if (parts.back().find_first_not_of("0123456789") != std::string::npos) return {};
      i = end;
      is_closed = true;
    } else {
      if (is_closed) return {};
      parts.back() += c;
    }
  }
  if (is_quoted || (parts.back().empty() && !is_closed)) return {};
  return parts;
}

std::optional<std::size_t> index_of(const std::string& part) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  return index;
}

std::string placed(const Location& location, const std::string& message) {
  const std::string place = to_string(location);
  return text(place, place.empty() ? "" : ": ", location.key, location.key.empty() ? "" : ": ", message);
}

void fail_at(const Location& location, const std::string& message) { throw ConfigError(placed(location, message)); }

}  // namespace casdm
