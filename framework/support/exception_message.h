#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "casdm/error.h"

namespace casdm {

/// The machine or the GPU does not have enough memory.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// The message of `error`: LibTorch's errors without stack trace, and failed allocations as "out of memory", with the
/// size if it is known.
std::string exception_message(const std::exception& error);

/// Whether `error` is about memory: OutOfMemory, std::bad_alloc, or an error of LibTorch's CPU or GPU allocator.
bool is_out_of_memory(const std::exception& error);

/// Throws what LibTorch throws when an allocation on the CPU fails.
[[noreturn]] void throw_no_memory(std::uint64_t wanted, std::uint64_t free);

/// From here on LibTorch's exceptions carry no stack trace, unless CASDM_STACK_TRACES is set in the environment.
void hide_stack_traces();

}  // namespace casdm

/// hide_stack_traces() for the program, before any command of libcasdm_framework.so.
extern "C" void casdm_hide_stack_traces();

/// Runs a command of libcasdm_framework.so for the program; a failed allocation becomes an OutOfMemory.
extern "C" int casdm_run_command(int (*command)(const std::vector<std::string>&),
                                 const std::vector<std::string>& arguments);
