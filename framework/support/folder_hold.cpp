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

/// Whether `folder` is still the name of what was opened.
bool is_same(int descriptor, const fs::path& folder) {
  struct stat opened {
  }, named{};
  return ::fstat(descriptor, &opened) == 0 && ::stat(folder.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

}  // namespace

FolderHold::FolderHold(const fs::path& folder) : descriptor_(open_folder(folder)) {
  // Who saves or removes a folder locks it for moments only.
  for (int tries = 0; tries < 500 && ::flock(descriptor_, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (is_same(descriptor_, folder)) return;
  ::close(descriptor_);
  throw Error(text(folder.string(), " was removed by another process"));
}

FolderHold::~FolderHold() { ::close(descriptor_); }

bool remove_unless_held(const fs::path& folder) {
  const int descriptor = open_folder(folder);
  const bool is_held = ::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  std::string failure;
  if (!is_held) {
    try {
      const fs::path gone = temporary_beside(folder);
      fs::rename(folder, gone);
      // The name at first: a power cut must not leave a part of the folder under it.
      sync_folder(gone.parent_path());
      fs::remove_all(gone);
    } catch (const fs::filesystem_error& error) {
      failure = error.code().message();
    } catch (const Error& error) {
      failure = error.what();
    }
  }
  ::close(descriptor);
  if (!failure.empty()) throw Error(text(folder.string(), " cannot be removed: ", failure));
  return !is_held;
}

}  // namespace casdm
