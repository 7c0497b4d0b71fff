#include "framework/support/machine.h"

#include <sys/ioctl.h>

#include <fstream>
#include <thread>

#include "casdm/text.h"
#include "framework/support/memory.h"

namespace casdm {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return printable(line.substr(colon + 2));
  }
  return "unknown processor";
}

std::string machine_description() {
  const unsigned count = std::thread::hardware_concurrency();
  return text(processor(), ", ", count, count == 1 ? " CPU, " : " CPUs, ", (memory_of_machine() + (1U << 29)) >> 30,
              " GiB");
}

std::size_t terminal_columns(int descriptor, std::size_t otherwise) {
  winsize size{};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : otherwise;
}

}  // namespace casdm
