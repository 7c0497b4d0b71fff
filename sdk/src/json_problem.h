#pragma once

#include <exception>
#include <string>

namespace casdm {

/// What the JSON library says is wrong, without the name of its exception: "[json.exception.parse_error.101] ...".
inline std::string json_problem(const std::exception& error) {
  const std::string words = error.what();
  const std::string::size_type end = words.starts_with("[json.") ? words.find("] ") : std::string::npos;
  return end == std::string::npos ? words : words.substr(end + 2);
}

}  // namespace casdm
