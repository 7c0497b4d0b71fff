#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/comparison/comparison.h"
#include "framework/comparison/sweep_file.h"

/// The folder of a sweep:
///
///     sweep.json        arms, baselines and cells
///     CELL/             the run folder of each cell
///     cells/CELL.toml   its experiment
///     cells/CELL.json   why it failed, or how it was evaluated, and the names of its records
///     logs/CELL.log     the output of its processes
///     results.*         see result_files.h
namespace casdm {

bool is_sweep_folder(const std::filesystem::path& folder);

/// Throws ConfigError if the name is taken by anything but a sweep, or if a run of another experiment has a cell's
/// name. Changes nothing. Paths that are the same relative to the sweep's file, as after a tree was moved or copied
/// with its runs and data, do not count as a difference.
/// @param catalog_of  as for load_sweep
void check_sweep_folder(const Sweep& sweep, const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

/// Held while a `casdm sweep` works in a folder: only one process may hold the lock of a whole sweep, several may hold
/// that of a cell. Creates the folder. Throws Error if another process holds the lock.
class SweepLock {
 public:
  enum class Kind { of_the_sweep, of_a_cell };
  SweepLock(const std::filesystem::path& folder, Kind kind);
  ~SweepLock();
  SweepLock(const SweepLock&) = delete;
  SweepLock& operator=(const SweepLock&) = delete;

 private:
  int descriptor_;
};

/// Creates the folder's contents and writes sweep.json and the experiments of `cells` if they have changed, so files
/// that another process uses stay as they are. Throws like check_sweep_folder, in which case nothing is written.
void prepare_sweep_folder(const Sweep& sweep, const std::function<const ComponentCatalog&(const Value&)>& catalog_of,
                          const SweepLock& lock, const std::vector<std::size_t>& cells);

enum class CellState {
  waiting,  ///< it has no run folder
  started,  ///< to be resumed
  trained,  ///< every image was seen, the last grid drawn, [evaluate] done; the sweep's evaluation is missing
  complete,
};
CellState state_of(const Sweep& sweep, const SweepCell& cell);

/// The paths in the experiment of a cell's run that moved with the sweep's file, as settings with the new path:
/// "data.path=...".
std::vector<std::string> moved_paths(const Sweep& sweep, const SweepCell& cell);

std::filesystem::path run_of(const Sweep& sweep, const SweepCell& cell);
std::filesystem::path experiment_file_of(const Sweep& sweep, const SweepCell& cell);
std::filesystem::path log_of(const Sweep& sweep, const SweepCell& cell);

/// Records that a cell failed or, if `problem` is empty, that it is complete. Throws Error.
void note_end(const Sweep& sweep, const SweepCell& cell, const std::string& problem);

/// The results of a sweep so far. Throws ConfigError if `folder` is not the folder of a sweep, Error if sweep.json
/// cannot be read.
Comparison read_sweep(const std::filesystem::path& folder);

}  // namespace casdm
