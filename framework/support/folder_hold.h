#pragma once

#include <filesystem>
#include <memory>

namespace casdm {

/// As long as it lives, `remove_unless_held` of another process leaves the folder alone. A lock (flock) on the folder:
/// where the file system has none, nothing is held and nothing fails.
class FolderHold {
 public:
  /// Throws Error when `folder` cannot be opened, or when it was removed in the meantime.
  explicit FolderHold(const std::filesystem::path& folder);
  ~FolderHold();
  FolderHold(const FolderHold&) = delete;
  FolderHold& operator=(const FolderHold&) = delete;

 private:
  int descriptor_;
};

/// Removes a folder with all it holds. It is renamed at first, so that it is there whole or not at all. False when
/// somebody holds it; throws Error when it cannot be removed.
bool remove_unless_held(const std::filesystem::path& folder);

}  // namespace casdm
