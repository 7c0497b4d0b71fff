#pragma once

#include <filesystem>
#include <memory>
#include <optional>

namespace casdm {

/// While this object lives, `remove_unless_held` in other processes leaves the folder alone. Uses a lock (flock) on the
/// folder: on a file system without locks, nothing is held and nothing fails.
class FolderHold {
 public:
  /// Throws Error if `folder` cannot be opened, or if it was removed in the meantime.
  explicit FolderHold(const std::filesystem::path& folder);
  ~FolderHold();
  FolderHold(const FolderHold&) = delete;
  FolderHold& operator=(const FolderHold&) = delete;

 private:
  int descriptor_;
};

/// While this object lives, others in this and other processes wait, so that files in the folder can be read, changed
/// and written again. Creates the folder. After 5 s, and where that or locking is impossible, goes on without the lock.
class FolderTurn {
 public:
  explicit FolderTurn(const std::filesystem::path& folder);
  ~FolderTurn();
  FolderTurn(const FolderTurn&) = delete;
  FolderTurn& operator=(const FolderTurn&) = delete;

 private:
  int descriptor_;
};

/// Where the file or folder is that was opened as `path`, if another one, or none, has this name now; empty if it was
/// removed; nullopt if it is still there.
std::optional<std::filesystem::path> moved_to(int descriptor, const std::filesystem::path& path);

/// Removes a folder with everything in it. It is renamed first, so that under its name it is either complete or absent.
/// Throws Error if that fails; the folder is then unchanged, unless the file system fails while files are removed.
void remove_folder(const std::filesystem::path& folder);

/// Removes the folder like remove_folder, unless somebody holds it; then returns false.
bool remove_unless_held(const std::filesystem::path& folder);

}  // namespace casdm
