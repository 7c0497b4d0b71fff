#include <algorithm>

#include "casdm/text.h"
#include "framework/config/document.h"

namespace casdm {

namespace {

bool is_bare(const std::string& key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string toml_string(const std::string& value) {
  std::string result = "\"";
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += {'\\', c};
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (byte >= 0x80) {
      const auto is_ascii = [](char next) { return static_cast<unsigned char>(next) < 0x80; };
      const auto end = std::find_if(value.begin() + static_cast<std::ptrdiff_t>(i), value.end(), is_ascii);
      const auto length = static_cast<std::size_t>(end - value.begin()) - i;
      result += printable(std::string_view(value).substr(i, length));  // escapes as TOML does
      i += length - 1;
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char digits[] = "0123456789ABCDEF";
      result += {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    } else {
      result += c;
    }
  }
  return result + '"';
}

bool is_table_array(const Value& value) {
  if (!value.is_array() || value.as_array().empty()) return false;
  return std::all_of(value.as_array().begin(), value.as_array().end(), [](const Value& v) { return v.is_table(); });
}

void write_table(std::string& out, const Value& table, const std::string& path) {
  for (const auto& [key, value] : table.as_table()) {
    if (value.is_null() || value.is_table() || is_table_array(value)) continue;
    out += text(to_toml_key(key), " = ", to_toml_value(value), "\n");
  }
  for (const auto& [key, value] : table.as_table()) {
    const std::string inner = path.empty() ? to_toml_key(key) : path + "." + to_toml_key(key);
    if (value.is_table()) {
      out += text(out.empty() ? "" : "\n", "[", inner, "]\n");
      write_table(out, value, inner);
    } else if (is_table_array(value)) {
      for (const Value& element : value.as_array()) {
        out += text(out.empty() ? "" : "\n", "[[", inner, "]]\n");
        write_table(out, element, inner);
      }
    }
  }
}

}  // namespace

std::string to_toml_key(const std::string& key) { return is_bare(key) ? key : toml_string(key); }

std::string to_toml_value(const Value& value) {
  if (value.is_boolean()) return value.as_boolean() ? "true" : "false";
  if (value.is_integer()) return std::to_string(value.as_integer());
  if (value.is_floating()) return number(value.as_number());
  if (value.is_string()) return toml_string(value.as_string());
  std::vector<std::string> parts;
  if (value.is_array()) {
    for (const Value& element : value.as_array()) parts.push_back(to_toml_value(element));
    return text("[", join(parts, ", "), "]");
  }
  for (const auto& [key, member] : value.as_table()) {
    if (!member.is_null()) parts.push_back(text(to_toml_key(key), " = ", to_toml_value(member)));
  }
  return parts.empty() ? "{}" : text("{ ", join(parts, ", "), " }");
}

std::string to_toml(const Value& value) {
  std::string out;
  write_table(out, value, "");
  return out;
}

}  // namespace casdm
