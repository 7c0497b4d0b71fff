#include "framework/support/folder_hold.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

int open_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw Error(text(folder.string(), " cannot be opened: ", std::strerror(errno)));
  return descriptor;
}

/// Waits up to 5 s for the lock, without which the caller goes on.
void lock_soon(int descriptor, int operation) {
  for (int tries = 0; tries < 500 && ::flock(descriptor, operation | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

/// Whether `folder` still refers to the opened folder.
bool is_same(int descriptor, const fs::path& folder) {
  struct stat opened {
  }, named{};
  return ::fstat(descriptor, &opened) == 0 && ::stat(folder.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

/// Throws Error if files cannot be removed from `folder` or one of its subfolders.
void require_writable(const fs::path& folder) {
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    throw Error(text(std::strerror(errno), " in ", quoted(folder.string())));
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const bool is_folder = entry.is_directory() && !entry.is_symlink();
    if (is_folder && !fs::is_empty(entry.path())) require_writable(entry.path());
  }
}

}  // namespace

std::optional<fs::path> moved_to(int descriptor, const fs::path& path) {
  struct stat opened {};
  if (is_same(descriptor, path) || ::fstat(descriptor, &opened) != 0) return std::nullopt;
  std::error_code unknown;
  const fs::path now = fs::read_symlink(text("/proc/self/fd/", descriptor), unknown);
  return opened.st_nlink > 0 && !unknown ? now : fs::path();
}

FolderHold::FolderHold(const fs::path& folder) : descriptor_(open_folder(folder)) {
  // Processes that save or remove a folder lock it only briefly.
  lock_soon(descriptor_, LOCK_SH);
  if (is_same(descriptor_, folder)) return;
  ::close(descriptor_);
  throw Error(text(folder.string(), " was removed by another process"));
}

FolderHold::~FolderHold() { ::close(descriptor_); }

FolderTurn::FolderTurn(const fs::path& folder) {
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ >= 0) lock_soon(descriptor_, LOCK_EX);
}

FolderTurn::~FolderTurn() {
  if (descriptor_ < 0) return;
  ::flock(descriptor_, LOCK_UN);  // also that of a child process which has inherited the descriptor
  ::close(descriptor_);
}

void remove_folder(const fs::path& folder) {
  const auto fail = [&](const std::string& reason) {
    throw Error(text(quoted(folder.string()), " cannot be removed: ", reason));
  };
  const fs::path gone = temporary_beside(folder);
  bool is_renamed = false;
  try {
    require_writable(folder);
    fs::rename(folder, gone);
    is_renamed = true;
    // The renaming must reach the disk first: after a power failure, only part of the folder could be left under the
    // name.
    sync_folder(gone.parent_path());
  } catch (const std::exception& error) {
    std::error_code ignored;
    if (is_renamed) fs::rename(gone, folder, ignored);
    const auto* of_system = dynamic_cast<const fs::filesystem_error*>(&error);
    fail(of_system != nullptr ? of_system->code().message() : error.what());
  }
  std::error_code failure;
  fs::remove_all(gone, failure);
  if (failure) fail(text(failure.message(), "; what is left of it is in ", quoted(gone.string())));
}

bool remove_unless_held(const fs::path& folder) {
  const int descriptor = open_folder(folder);
  const bool is_held = ::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  try {
    if (!is_held) remove_folder(folder);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
  return !is_held;
}

}  // namespace casdm
