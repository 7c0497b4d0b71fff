#include "framework/training/run_config.h"

#include <string>

#include "framework/config/document.h"
#include "framework/support/files.h"

namespace casdm {

namespace {

constexpr std::string_view kMark = "# Written by casdm, which reads it at a resume as long as this fits: sha256 ";

std::string with_checksum(const std::string& toml) { return toml + std::string(kMark) + sha256(toml) + "\n"; }

}  // namespace

void write_run_config(const std::filesystem::path& file, const Value& config) {
  const std::string content = with_checksum(to_toml(config));
  if (!std::filesystem::exists(file) || read_file(file) != content) write_file(file, content);
}

bool is_run_config_intact(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  const std::size_t end = content.rfind(kMark);
  return end != std::string::npos && with_checksum(content.substr(0, end)) == content;
}

}  // namespace casdm
