#pragma once

#include <exception>
#include <string>
#include <vector>

#include "casdm/error.h"

namespace casdm {

/// Memory of the machine or the GPU that could not be had.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// What `error` says, in one message: LibTorch's errors without stack trace, and memory that could not be had as
/// "out of memory", with the size where it is known.
std::string exception_message(const std::exception& error);

/// Whether `error` is about memory: OutOfMemory, std::bad_alloc, or LibTorch's allocator of the CPU or the GPU.
bool is_out_of_memory(const std::exception& error);

/// LibTorch's exceptions carry no stack trace from here on, unless CASDM_STACK_TRACES is set in the environment.
void hide_stack_traces();

}  // namespace casdm

/// hide_stack_traces() for the program, before any command of libcasdm_framework.so.
extern "C" void casdm_hide_stack_traces();

/// A command of libcasdm_framework.so, for the program: memory that could not be had is an OutOfMemory.
extern "C" int casdm_run_command(int (*command)(const std::vector<std::string>&),
                                 const std::vector<std::string>& arguments);
