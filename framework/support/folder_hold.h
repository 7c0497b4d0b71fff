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

/// Removes a folder with all it holds. It is renamed at first, so that it is there whole or not at all. Throws Error
/// when that cannot be done; then it is as it was, unless the file system fails while files are removed.
void remove_folder(const std::filesystem::path& folder);

/// The same, unless somebody holds it: false.
bool remove_unless_held(const std::filesystem::path& folder);

}  // namespace casdm
