#pragma once

#include <cstdint>
#include <functional>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// Calls task(0) ... task(count - 1) on LibTorch's threads and returns when all are done. at::parallel_for would run in
/// this thread alone: its OpenMP part is compiled where it is used, and plugins bring no OpenMP of their own.
///
/// A task should take some microseconds at least. What a task throws comes out of here.
void run_parallel(std::int64_t count, const std::function<void(std::int64_t index)>& task);

}  // namespace casdm
