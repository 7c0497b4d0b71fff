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

/// What every process of a sweep is started with.
struct SweepSettings {
  std::int64_t jobs = 1;                  ///< runs at a time
  std::int64_t processes = 1;             ///< that share one run
  std::vector<std::string> options = {};  ///< of `casdm train` and `casdm evaluate`: "--plugin", "FILE"
  std::map<std::string, std::string> environment = {};
};

/// How the runs of a sweep ended.
struct SweepEnd {
  std::size_t complete = 0;
  std::size_t failed = 0;
  bool is_stopped = false;  ///< by a signal, before everything was done
};

/// Trains and evaluates the cells that are not complete, `jobs` at a time, each in its own processes: if one crashes,
/// its cell has failed, and the others go on. Stops in an orderly way once `interrupted()`: every run saves a
/// checkpoint, from which the next call continues. The next call also tries failed cells again.
/// @param cells  the indices of the cells to run
SweepEnd run_sweep(const Sweep& sweep, const std::vector<std::size_t>& cells, const SweepSettings& settings);

}  // namespace casdm
