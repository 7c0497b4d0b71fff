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
///     logs/CELL.log     what its processes said
///     results.*         see result_files.h
namespace casdm {

/// Whether `folder` is that of a sweep.
bool is_sweep_folder(const std::filesystem::path& folder);

/// Throws ConfigError when the name is taken by anything but a sweep, or when a run of another experiment has a cell's
/// name. Changes nothing. Paths that are the same seen from the sweep's file, as when a tree was moved or copied with
/// its runs and data, are no difference.
/// @param catalog_of  as for load_sweep
void check_sweep_folder(const Sweep& sweep, const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

/// Held while a `casdm sweep` works in a folder: of the whole sweep by one alone, of a cell by several at a time. Makes
/// the folder. Throws Error when another one does.
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

/// Makes what is in the folder and writes sweep.json and the experiments of `cells`, where they have changed: what
/// another process works with stays as it is. Throws as check_sweep_folder does, and then writes nothing.
void prepare_sweep_folder(const Sweep& sweep, const std::function<const ComponentCatalog&(const Value&)>& catalog_of,
                          const SweepLock& lock, const std::vector<std::size_t>& cells);

enum class CellState {
  waiting,  ///< it has no run folder
  started,  ///< to be resumed
  trained,  ///< every image was seen, the last grid drawn, [evaluate] done; to be evaluated as the sweep says
  complete,
};
CellState state_of(const Sweep& sweep, const SweepCell& cell);

/// The paths of the experiment of a cell's run that were moved with the sweep's file, as settings of what they are now:
/// "data.path=...".
std::vector<std::string> moved_paths(const Sweep& sweep, const SweepCell& cell);

std::filesystem::path run_of(const Sweep& sweep, const SweepCell& cell);
std::filesystem::path experiment_file_of(const Sweep& sweep, const SweepCell& cell);
std::filesystem::path log_of(const Sweep& sweep, const SweepCell& cell);

/// Records that a cell failed, or, where `problem` is empty, that it is complete. Throws Error.
void note_end(const Sweep& sweep, const SweepCell& cell, const std::string& problem);

/// What the runs of a sweep say so far. Throws ConfigError when `folder` is not that of a sweep, Error when sweep.json
/// cannot be read.
Comparison read_sweep(const std::filesystem::path& folder);

}  // namespace casdm
