#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/comparison/sweep_file.h"
#include "framework/training/experiment_change.h"

/// sweep.json: the arms, baselines and cells of a sweep as its folder records them, and where the sweep's file was.
namespace casdm {

inline constexpr const char* kPlanFile = "sweep.json";

/// What sweep.json says of `sweep`. The files that the folder's sweep.json names by now stay on record.
Value recorded_plan(const Sweep& sweep);

/// Throws Error if the folder's sweep.json cannot be read.
Value read_plan(const std::filesystem::path& folder);

/// Whether the folder's sweep.json was written by the program.
bool has_plan(const std::filesystem::path& folder);

/// Where a sweep's file is, and where it was when the runs were made, in case the folder was moved or copied.
struct Homes {
  std::filesystem::path now;
  std::vector<std::filesystem::path> earlier;

  /// Whether two paths are the same relative to the sweep's file, as examples/ beside configs/ in a tree that was
  /// moved.
  bool is_moved(const ExperimentChange& change) const;
};

Homes homes_of(const Sweep& sweep);

/// The same for the sweep whose folder holds `plan`.
Homes homes_of(const std::filesystem::path& folder, const Value& plan);

}  // namespace casdm
