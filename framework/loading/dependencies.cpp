#include "framework/loading/dependencies.h"

#include <link.h>

#include <cstdlib>
#include <deque>
#include <set>
#include <sstream>
#include <vector>

#include "casdm/elf_note.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kCannotOpen = ": cannot open shared object file";

/// The folders that are searched for linked libraries: LD_LIBRARY_PATH, the folders of libraries that are already
/// loaded, and the system's.
std::vector<fs::path> library_folders() {
  std::vector<fs::path> folders;
  const char* given = std::getenv("LD_LIBRARY_PATH");
  std::istringstream entries(given != nullptr ? given : "");
  for (std::string entry; std::getline(entries, entry, ':');) {
    if (!entry.empty()) folders.emplace_back(entry);
  }
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        if (info->dlpi_name != nullptr && *info->dlpi_name != '\0') {
          static_cast<std::vector<fs::path>*>(result)->push_back(fs::path(info->dlpi_name).parent_path());
        }
        return 0;
      },
      &folders);
  for (const char* folder : {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"})
    folders.emplace_back(folder);
  return folders;
}

fs::path located(const std::string& name, const std::vector<fs::path>& folders) {
  std::error_code error;
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / name, error)) return folder / name;
  }
  return {};
}

/// Which of `library` and the libraries it is linked to needs `missing`; empty if none is found.
fs::path who_needs(const std::string& missing, const fs::path& library) {
  std::vector<fs::path> folders = library_folders();
  folders.insert(folders.begin(), library.parent_path());
  std::deque<fs::path> waiting{library};
  std::set<std::string> seen;
  while (!waiting.empty()) {
    const fs::path current = waiting.front();
    waiting.pop_front();
    std::vector<std::string> needed;
    try {
      needed = read_needed(current);
    } catch (const PluginError&) {
      continue;
    }
    for (const std::string& name : needed) {
      if (name == missing) return current;
      if (!seen.insert(name).second) continue;
      const fs::path next = located(name, folders);
      if (!next.empty()) waiting.push_back(next);
    }
  }
  return {};
}

}  // namespace

std::string explain_load_failure(const fs::path& library, const std::string& dl_error) {
  const std::size_t end = dl_error.find(kCannotOpen);
  if (end == std::string::npos) return dl_error;
  const std::size_t space = dl_error.rfind(' ', end);
  const std::string missing =
      dl_error.substr(space == std::string::npos ? 0 : space + 1, end - (space == std::string::npos ? 0 : space + 1));
  const fs::path needed_by = who_needs(missing, library);
  if (needed_by.empty()) return dl_error;
  return text("the library ", missing, ", which ", needed_by == library ? "it" : needed_by.string(),
              " needs, is not found. Install the package that has it, or name its folder in LD_LIBRARY_PATH");
}

}  // namespace casdm
