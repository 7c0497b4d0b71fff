#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "framework/config/experiment.h"
#include "framework/support/exception_message.h"

namespace casdm {

/// The options of an experiment that determine how much memory it needs, with their values.
std::string memory_advice(const Experiment& options);

/// Throws OutOfMemory if the images of a batch alone, as they are read and noised, need more memory than is free: what
/// the networks need on top is only known once they have it.
/// @param images  of a batch, in this process
void require_memory_for_batch(const Experiment& options, std::int64_t images, c10::Device device);

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
