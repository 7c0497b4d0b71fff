#include "framework/support/exception_message.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>

#include <cstdlib>
#include <new>
#include <string_view>

#include "casdm/text.h"
#include "framework/support/memory_guard.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

/// The words of LibTorch's CPU allocator before "N bytes".
constexpr std::string_view kCpuAllocator = "you tried to allocate ";

/// What throw_no_memory adds before the bytes that are free.
constexpr std::string_view kFree = " bytes; free are ";

/// LibTorch's message about an operation without a deterministic form, after the operation's name.
constexpr std::string_view kNotDeterministic = " does not have a deterministic implementation";

/// The useful part of "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB of which
/// 1 GiB is free. ...".
std::string accelerator_memory(const std::string& message) {
  constexpr std::string_view kEnd = " is free";
  const std::size_t found = message.find(kEnd);
  return found == std::string::npos ? message : message.substr(0, found + kEnd.size());
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
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return accelerator_memory(message);
  if (const std::size_t found = message.find(kNotDeterministic); found != std::string::npos) {
    return text(message.substr(0, found), " is not deterministic; run.deterministic = false allows it");
  }
  if (dynamic_cast<const c10::AcceleratorError*>(&error) != nullptr) {
    return text(message.substr(0, message.find('\n')), ", noticed here but perhaps caused earlier; with ",
                "CUDA_LAUNCH_BLOCKING=1 in the environment it is noticed where it is caused");
  }
  const std::size_t found = message.find(kCpuAllocator);
  if (found == std::string::npos) return libtorch->what_without_backtrace();
  const std::size_t free = message.find(kFree);
  return text("out of memory: another ", size_text(std::atof(message.c_str() + found + kCpuAllocator.size())),
              " could not be had",
              free == std::string::npos
                  ? ""
                  : text("; ", size_text(std::atof(message.c_str() + free + kFree.size())), " are free"));
}

void throw_no_memory(std::uint64_t wanted, std::uint64_t free) {
  C10_THROW_ERROR(Error, text(kCpuAllocator, wanted, kFree, free));
}

void hide_stack_traces() {
  if (std::getenv("CASDM_STACK_TRACES") != nullptr) return;
  c10::SetStackTraceFetcher([] { return std::string(); });
}

}  // namespace casdm

void casdm_hide_stack_traces() { casdm::hide_stack_traces(); }

int casdm_run_command(int (*command)(const std::vector<std::string>&), const std::vector<std::string>& arguments) {
  casdm::refuse_what_memory_lacks();
  try {
    return command(arguments);
  } catch (const std::exception& error) {
    if (!casdm::is_out_of_memory(error)) throw;
    throw casdm::OutOfMemory(casdm::exception_message(error));
  }
}
