#include "framework/support/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace casdm {

std::uint64_t memory_of_machine() {
  auto bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  // The limit of the control group, in versions 2 and 1; "max" is not a number, so the machine's memory counts.
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::uint64_t limit = 0;
    if (std::ifstream(file) >> limit) bytes = std::min(bytes, limit);
  }
  return bytes;
}

}  // namespace casdm
