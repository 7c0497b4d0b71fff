#pragma once

#include <filesystem>
#include <string>

#include "framework/comparison/comparison.h"
#include "framework/comparison/sweep_file.h"

/// The folder of a sweep:
///
///     sweep.json        arms, baselines and cells
///     CELL/             the run folder of each cell
///     cells/CELL.toml   its experiment
///     cells/CELL.json   why it failed, or how it was evaluated
///     logs/CELL.log     what its processes said
///     results.*         see result_files.h
namespace casdm {

/// Whether `folder` is that of a sweep.
bool is_sweep_folder(const std::filesystem::path& folder);

/// Makes the folder and writes sweep.json and the cells' experiments, where they have changed. Throws ConfigError, and
/// writes nothing, when the name is taken by anything else, or when a run of another experiment has a cell's name.
/// @param catalog_of  as for load_sweep
void prepare_sweep_folder(const Sweep& sweep, const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

/// The checks of `prepare_sweep_folder` alone.
void check_sweep_folder(const Sweep& sweep, const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

enum class CellState {
  waiting,  ///< it has no run folder
  started,  ///< to be resumed
  trained,  ///< every image was seen, the last grid drawn, [evaluate] done; to be evaluated as the sweep says
  complete,
};
CellState state_of(const Sweep& sweep, const SweepCell& cell);

std::filesystem::path run_of(const Sweep& sweep, const SweepCell& cell);
std::filesystem::path experiment_file_of(const Sweep& sweep, const SweepCell& cell);
std::filesystem::path log_of(const Sweep& sweep, const SweepCell& cell);

/// Records that a cell failed, or, where `problem` is empty, that it is complete. Throws Error.
void note_end(const Sweep& sweep, const SweepCell& cell, const std::string& problem);

/// What the runs of a sweep say so far. Throws ConfigError when `folder` is none of a sweep, Error when sweep.json
/// cannot be read.
Comparison read_sweep(const std::filesystem::path& folder);

/// Held by the one `casdm sweep` that works in a folder. Throws Error when another one does.
class SweepLock {
 public:
  explicit SweepLock(const std::filesystem::path& folder);
  ~SweepLock();
  SweepLock(const SweepLock&) = delete;
  SweepLock& operator=(const SweepLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace casdm
