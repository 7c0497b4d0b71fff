#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "framework/training/module_state.h"
#include "framework/training/power_profile.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// A power-function average at one point of the training: RUN/ema/<images>-<sigma_rel>.safetensors, in the layout of a
/// checkpoint's ema.safetensors, with its images, its width, what was trained (`description_of`) and a SHA-256 in the
/// metadata. Snapshots are never removed: any other average can be made from them after training.
struct EmaSnapshot {
  std::filesystem::path path;
  std::int64_t images = 0;
  double sigma_rel = 0;
};

/// A snapshot that is to be written.
struct SnapshotContent {
  std::int64_t images = 0;
  double sigma_rel = 0;
  NamedTensors tensors;
  std::map<std::string, std::string> trained = {};  ///< `description_of` the experiment
};

/// Of each power-function average; the tensors are those of the training.
std::vector<SnapshotContent> snapshots_of(const std::vector<ModuleState>& modules, std::int64_t images);

/// Writes the snapshots. Steps repeated after a resume write theirs again.
void save_ema_snapshots(const RunFolder& run, const std::vector<SnapshotContent>& snapshots);

/// If modules are divided, the other processes call this while the first one calls `snapshots_of`.
void send_ema_snapshots(const std::vector<ModuleState>& modules);

/// The snapshots of a run, sorted by images and width; empty if there are none.
std::vector<EmaSnapshot> ema_snapshots(const RunFolder& run);

/// The average of width `sigma_rel` at `images`, in the layout of its snapshots.
struct Reconstruction {
  NamedTensors tensors;
  double error = 0;            ///< of the profile, relative; see Combination
  std::int64_t unchecked = 0;  ///< snapshots of version 0.1, which have no checksum
};

/// Combines `snapshots` (appendix C of Karras et al. 2024), reading one at a time; sums are in double precision, and
/// tensors that are not floating point are taken from the last. Throws Error if a snapshot cannot be read, is not as it
/// was written, is of another run than the first, or has other tensors; ConfigError if sigma_rel is out of range.
Reconstruction reconstruct_ema(const std::vector<EmaSnapshot>& snapshots, double sigma_rel, std::int64_t images);

}  // namespace casdm
