#pragma once

#include <filesystem>

#include "framework/training/run_folder.h"

namespace casdm {

/// An earlier run that `train --overwrite` replaces. It is set aside beside its folder, as NAME.replaced, until the new
/// run has taken a step; if that never happens, it comes back.
class ReplacedRun {
 public:
  /// Throws ConfigError, and changes nothing, if `path` is not a run folder or contains anything that the program has
  /// not made, or if another run is set aside there; Error if a process trains in it.
  explicit ReplacedRun(const std::filesystem::path& path);

  /// Moves the run back unless it was removed or something has taken its place.
  ~ReplacedRun();
  ReplacedRun(const ReplacedRun&) = delete;
  ReplacedRun& operator=(const ReplacedRun&) = delete;

  void remove();

 private:
  std::filesystem::path path_, aside_;
  RunFolder run_;  ///< locked
  bool is_removed_ = false;
};

/// Creates the folder of a run in place of an earlier one; see `ReplacedRun` and `RunFolder::create`.
RunFolder replace_run(const std::filesystem::path& path, const Value& resolved);

/// To be called before a run in any folder is trained further: if it was set aside, it is the user's again from here
/// on, and nothing will move or remove it.
void keep_replaced_run(const std::filesystem::path& path);

/// Moves back the run that a killed process had set aside and put nothing in its place. Returns whether there was one.
bool restore_replaced_run(const std::filesystem::path& path);

}  // namespace casdm
