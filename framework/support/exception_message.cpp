#include "framework/support/exception_message.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>

#include <cmath>
#include <cstdlib>
#include <new>
#include <string_view>

#include "casdm/text.h"

namespace casdm {

namespace {

/// What LibTorch's CPU allocator writes before "N bytes".
constexpr std::string_view kCpuAllocator = "you tried to allocate ";

std::string size_text(double bytes) {
  constexpr double kMiB = 1024.0 * 1024;
  constexpr double kGiB = 1024 * kMiB;
  if (bytes < kGiB) return text(std::llround(bytes / kMiB), " MiB");
  return bytes < 10 * kGiB ? text(number(std::round(bytes / kGiB * 10) / 10), " GiB")
                           : text(std::llround(bytes / kGiB), " GiB");
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const OutOfMemory*>(&error) != nullptr) return true;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  const auto* libtorch = dynamic_cast<const c10::Error*>(&error);
  return libtorch != nullptr && libtorch->msg().find(kCpuAllocator) != std::string::npos;
}

std::string exception_message(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return "out of memory";
  const auto* libtorch = dynamic_cast<const c10::Error*>(&error);
  if (libtorch == nullptr) return error.what();
  const std::string& message = libtorch->msg();
  const std::size_t found = message.find(kCpuAllocator);
  if (found == std::string::npos) return libtorch->what_without_backtrace();
  return text("out of memory: another ", size_text(std::atof(message.c_str() + found + kCpuAllocator.size())),
              " could not be had");
}

void hide_stack_traces() {
  if (std::getenv("CASDM_STACK_TRACES") != nullptr) return;
  c10::SetStackTraceFetcher([] { return std::string(); });
}

}  // namespace casdm

void casdm_hide_stack_traces() { casdm::hide_stack_traces(); }

int casdm_run_command(int (*command)(const std::vector<std::string>&), const std::vector<std::string>& arguments) {
  try {
    return command(arguments);
  } catch (const std::exception& error) {
    if (!casdm::is_out_of_memory(error)) throw;
    throw casdm::OutOfMemory(casdm::exception_message(error));
  }
}
