#include "framework/config/key_path.h"

#include <charconv>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"

namespace casdm {

namespace {

constexpr std::size_t kLongestPath = 200;  // of a key path in a message

}  // namespace

std::string key_path(const std::string& path, const std::string& key) {
  return text(path, path.empty() ? "" : ".", to_toml_key(key));
}

std::vector<KeyPart> split_key_path(const std::string& path) {
  std::vector<KeyPart> parts(1);
  bool is_quoted = false;
  bool is_closed = false;  // after ] or a closing quote, only . or [ may follow
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    std::string& name = parts.back().name;
    if (is_quoted) {
      if (c == '"') {
        is_quoted = false;
        is_closed = true;
      } else {
        name += c;
      }
    } else if (c == '"' && name.empty() && !is_closed) {
      is_quoted = true;
    } else if (c == '.') {
      if (name.empty() && !is_closed) return {};
      parts.emplace_back();
      is_closed = false;
    } else if (c == '[') {
      const std::size_t end = path.find(']', i);
      if (end == std::string::npos || end == i + 1 || (name.empty() && !is_closed)) return {};
      parts.push_back({path.substr(i + 1, end - i - 1), true});
      if (parts.back().name.find_first_not_of("0123456789") != std::string::npos) return {};
      i = end;
      is_closed = true;
    } else {
      if (is_closed) return {};
      name += c;
    }
  }
  if (is_quoted || (parts.back().name.empty() && !is_closed)) return {};
  return parts;
}

bool is_at_or_below(const std::string& key, const std::string& other) {
  return key.starts_with(other) && (key.size() == other.size() || key[other.size()] == '.' || key[other.size()] == '[');
}

std::optional<std::size_t> index_of(const std::string& part) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  return index;
}

const Value* find_path(const Value& root, const std::string& path) {
  const Value* value = &root;
  for (const auto& [name, in_brackets] : split_key_path(path)) {
    const std::optional<std::size_t> index = value->is_array() ? index_of(name) : std::nullopt;
    value = index ? (*index < value->as_array().size() ? &value->as_array()[*index] : nullptr) : value->find(name);
    if (value == nullptr) return nullptr;
  }
  return value;
}

void set_locations(Value& value, const Location& location) {
  value.set_location(location);
  if (value.is_table()) {
    for (auto& [key, member] : value.as_table()) {
      set_locations(member, {location.file, location.line, location.column, key_path(location.key, key)});
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      const std::string key = key_path(location.key, std::to_string(i));
      set_locations(value.as_array()[i], {location.file, location.line, location.column, key});
    }
  }
}

std::string placed(const Location& location, const std::string& message) {
  const std::string place = to_string(location);
  const bool is_long = location.key.size() > kLongestPath;
  return text(place, place.empty() ? "" : ": ", location.key.substr(0, kLongestPath), is_long ? "..." : "",
              location.key.empty() ? "" : ": ", message);
}

void fail_at(const Location& location, const std::string& message) { throw ConfigError(placed(location, message)); }

}  // namespace casdm
