#include "framework/training/run_config.h"

#include <string>

#include "framework/config/document.h"
#include "framework/support/files.h"

namespace casdm {

namespace {

constexpr std::string_view kMark =
    "# Written by casdm for this run, which reads it at a resume as long as this fits: sha256 ";
constexpr std::string_view kMarkOfAnyRun =
    "# Written by casdm, which reads it at a resume as long as this fits: sha256 ";

std::string with_checksum(const std::string& toml, std::string_view mark, const std::string& start) {
  return toml + std::string(mark) + sha256(toml + start) + "\n";
}

bool fits(const std::string& content, std::string_view mark, const std::string& start) {
  const std::size_t end = content.rfind(mark);
  return end != std::string::npos && with_checksum(content.substr(0, end), mark, start) == content;
}

}  // namespace

void write_run_config(const std::filesystem::path& file, const Value& config, const std::string& start) {
  const std::string content = with_checksum(to_toml(config), kMark, start);
  if (!std::filesystem::exists(file) || read_file(file) != content) write_file(file, content);
}

bool is_run_config_since(const std::filesystem::path& file, const std::string& start) {
  return fits(read_file(file), kMark, start);
}

bool is_run_config_of_any(const std::filesystem::path& file) { return fits(read_file(file), kMarkOfAnyRun, ""); }

}  // namespace casdm
