#include "framework/loading/note_summary.h"

namespace casdm {

namespace {

/// The end of a key. Inside a JSON string a quote is preceded by a backslash, so this never occurs there.
constexpr std::string_view kKey = "\"options\":";

/// The end of the array or object that starts at `at`; `at` itself if another value is there, the end of the text if it
/// is not closed.
std::size_t end_of_container(std::string_view json, std::size_t at) {
  int depth = 0;
  bool is_string = false;
  for (std::size_t i = at; i < json.size(); ++i) {
    const char c = json[i];
    if (is_string) {
      if (c == '\\') ++i;
      if (c == '"') is_string = false;
      continue;
    }
    if (c == '"') is_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth == 0) return c == ']' || c == '}' ? i + 1 : at;
  }
  return json.size();
}

std::string without_options(std::string_view json) {
  std::string result;
  std::size_t at = 0;
  for (std::size_t key = 0; (key = json.find(kKey, at)) != std::string_view::npos;) {
    const std::size_t value = key + kKey.size();
    const std::size_t end = end_of_container(json, value);
    result += json.substr(at, value - at);
    if (end > value) result += "[]";
    at = end;
  }
  return result += json.substr(at);
}

}  // namespace

PluginDescription summary_from_json(std::string_view json) { return description_from_json(without_options(json)); }

}  // namespace casdm
