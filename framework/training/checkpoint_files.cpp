#include "framework/training/checkpoint_files.h"

#include <algorithm>
#include <optional>
#include <set>

#include "casdm/error.h"
#include "casdm/value.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kDecimal = "0123456789";
constexpr std::string_view kHexadecimal = "0123456789abcdef";

/// The files listed in state.json; nullopt: it cannot be read.
std::optional<std::set<std::string>> listed(const fs::path& state) {
  try {
    if (!fs::is_regular_file(state)) return std::nullopt;
    const Value record = from_json(read_file(state));
    const Value* files = record.find("files");
    if (files == nullptr || !files->is_table()) return std::nullopt;
    std::set<std::string> names;
    for (const auto& [name, entry] : files->as_table()) names.insert(name);
    return names;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<std::string> strangers_in_checkpoint(const fs::path& folder) {
  const std::optional<std::set<std::string>> files = listed(folder / "state.json");
  std::vector<std::string> strangers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_listed = files ? files->contains(name) : entry.path().extension() == ".safetensors";
    const bool is_ours = is_listed || name == "state.json" || name == "state.json.sha256";
    if (!(is_ours && entry.is_regular_file() && !entry.is_symlink()) && !is_leftover(name)) strangers.push_back(name);
  }
  std::sort(strangers.begin(), strangers.end());
  return strangers;
}

bool is_leftover(const std::string& name) {
  constexpr std::string_view start = ".tmp-";
  constexpr std::size_t digits = 16;
  const std::size_t dash = name.rfind('-');
  if (!name.starts_with(start) || dash <= start.size() || name.size() - dash - 1 != digits) return false;
  const std::string pid = name.substr(start.size(), dash - start.size());
  return pid.find_first_not_of(kDecimal) == std::string::npos &&
         name.find_first_not_of(kHexadecimal, dash + 1) == std::string::npos;
}

}  // namespace casdm
