#include "framework/loading/search_paths.h"

#include <cstdlib>
#include <optional>
#include <sstream>

#include "casdm/user_folder.h"
#include "framework/config/document.h"
#include "framework/config/limits.h"
#include "framework/loading/origins.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

std::optional<fs::path> installed_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return std::nullopt;
  return (program.parent_path().parent_path() / CASDM_LIBDIR / "casdm" / "plugins").lexically_normal();
}

}  // namespace

bool is_safe_mode() {
  const char* value = std::getenv(kSafeMode);
  return value != nullptr && *value != '\0';
}

std::vector<SearchPlace> SearchPaths::places() const {
  std::vector<SearchPlace> result;
  if (is_safe_mode()) {
    if (const auto folder = installed_folder()) result.push_back({*folder, kInstalledOrigin});
    return result;
  }
  for (const fs::path& path : files) result.push_back({path, kCommandOrigin});
  for (const fs::path& path : config) result.push_back({path, kConfigOrigin});
  const char* environment = std::getenv("CASDM_PLUGIN_PATH");
  std::istringstream entries(environment != nullptr ? environment : "");
  for (std::string entry; std::getline(entries, entry, ':');) {
    if (!entry.empty()) result.push_back({entry, kEnvironmentOrigin});
  }
  if (const auto data = user_folder(UserFolder::data)) result.push_back({*data / "plugins", "the user's folder"});
  if (const auto folder = installed_folder()) result.push_back({*folder, kInstalledOrigin});
  return result;
}

std::vector<fs::path> plugin_paths(const Value& document) {
  const Value* plugins = document.find("plugins");
  const Value* paths = plugins != nullptr ? plugins->find("paths") : nullptr;
  std::vector<fs::path> result;
  if (paths == nullptr || !paths->is_array()) return result;
  for (const Value& path : paths->as_array()) {
    if (result.size() == kMostPluginPaths) break;
    if (!path.is_string() || path.as_string().empty()) continue;
    const std::string absolute = absolute_path(path);
    if (path_problem(absolute).empty()) result.push_back(absolute);
  }
  return result;
}

void add_plugin_paths(Value& document, const Value::Array& more) {
  if (more.empty()) return;
  const Value* own = document.find("plugins");
  Value plugins = own != nullptr && own->is_table() ? *own : Value(Value::Table{});
  const Value* paths = plugins.find("paths");
  Value::Array all = paths != nullptr && paths->is_array() ? paths->as_array() : Value::Array{};
  all.insert(all.end(), more.begin(), more.end());
  plugins.set("paths", std::move(all));
  document.set("plugins", std::move(plugins));
}

}  // namespace casdm
