#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/comparison/sweep_folder.h"
#include "framework/distributed/process_team.h"
#include "framework/reporting/progress.h"

namespace casdm {

/// What every process of a sweep is given.
struct SweepSettings {
  std::int64_t jobs = 1;                  ///< runs at a time
  std::int64_t processes = 1;             ///< that share a run
  std::vector<std::string> options = {};  ///< of `casdm train` and `casdm evaluate`: "--plugin", "FILE"
  std::map<std::string, std::string> environment = {};
};

/// How the runs of a sweep ended.
struct SweepEnd {
  std::size_t complete = 0;
  std::size_t failed = 0;
  bool is_stopped = false;  ///< by a signal, before all was done
};

/// Trains and evaluates the cells that are not complete, `jobs` at a time, each in processes of its own: a crash is a
/// failed cell, and the others go on. Stops in order once `interrupted()`: every run saves a checkpoint, from which the
/// next call goes on. A cell that failed is tried again by the next call.
/// @param cells  indices of those to do
SweepEnd run_sweep(const Sweep& sweep, const std::vector<std::size_t>& cells, const SweepSettings& settings);

}  // namespace casdm
