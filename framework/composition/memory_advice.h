#pragma once

#include <exception>
#include <string>
#include <utility>

#include "framework/config/experiment.h"
#include "framework/support/exception_message.h"

namespace casdm {

/// The options of an experiment that determine how much memory it needs, with their values.
std::string memory_advice(const Experiment& options);

/// Runs `work()` of an experiment. A failed allocation becomes an OutOfMemory with memory_advice; other exceptions
/// pass.
template <class Work>
auto with_memory_advice(const Experiment& options, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw OutOfMemory(exception_message(error) + memory_advice(options));
  }
}

}  // namespace casdm
