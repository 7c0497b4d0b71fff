#include "framework/support/memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

namespace casdm {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

/// The names of a control group's files, which differ between versions 2 and 1.
struct GroupFiles {
  std::string controllers;  ///< as /proc/self/cgroup has them, between commas
  std::string folder;
  std::string limit, used;
  std::string of_all;  ///< the start of the numbers in memory.stat that count the groups below, too
};

const GroupFiles kVersions[] = {
    {",,", "sys/fs/cgroup", "memory.max", "memory.current", ""},
    {",memory,", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"}};

/// The number after `name` in a file of lines "name: number kB" or "name number"; 0: there is none.
std::uint64_t number_after(const fs::path& file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ' ')) return std::strtoull(line.c_str() + name.size(), nullptr, 10);
  }
  return 0;
}

/// The folders of the control groups that contain this process, from its own to the root of their tree.
std::vector<fs::path> groups(const fs::path& root, const GroupFiles& version) {
  const fs::path top = root / version.folder;
  fs::path group = top;
  std::ifstream lines(root / "proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {  // "4:cpu,memory:/path"
    const std::size_t begin = line.find(':'), end = line.find(':', begin + 1);
    if (end == std::string::npos) continue;
    const std::string controllers = "," + line.substr(begin + 1, end - begin - 1) + ",";
    if (controllers.find(version.controllers) != std::string::npos)
      group = top / fs::path(line.substr(end + 1)).relative_path();
  }
  std::vector<fs::path> result{group};
  while (group != top && group.has_relative_path()) result.push_back(group = group.parent_path());
  return result;
}

/// The limit of a control group; "max" is not a number, so there is none.
std::uint64_t limit_of(const fs::path& group, const GroupFiles& version) {
  std::uint64_t limit = 0;
  return std::ifstream(group / version.limit) >> limit ? limit : kUnlimited;
}

}  // namespace

std::uint64_t memory_of_machine() {
  auto bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  for (const GroupFiles& version : kVersions) {
    for (const fs::path& group : groups("/", version)) bytes = std::min(bytes, limit_of(group, version));
  }
  return bytes;
}

std::uint64_t free_memory(const fs::path& root) {
  const fs::path machine = root / "proc/meminfo";
  const std::uint64_t available = number_after(machine, "MemAvailable:");
  std::uint64_t bytes = available == 0 ? kUnlimited : (available + number_after(machine, "SwapFree:")) * 1024;
  for (const GroupFiles& version : kVersions) {
    for (const fs::path& group : groups(root, version)) {
      const std::uint64_t limit = limit_of(group, version);
      if (limit >= bytes) continue;
      std::uint64_t used = 0;
      std::ifstream(group / version.used) >> used;
      const fs::path parts = group / "memory.stat";
      const std::uint64_t files =
          number_after(parts, version.of_all + "active_file") + number_after(parts, version.of_all + "inactive_file");
      used -= std::min(used, files);
      bytes = std::min(bytes, limit - std::min(limit, used));
    }
  }
  return bytes;
}

}  // namespace casdm
