#include "casdm/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <utility>
#include <vector>

#include "casdm/hex.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = ".tmp-";
constexpr std::size_t kRandomDigits = 16;

/// Whether the name has the form of `temporary_beside`.
bool is_temporary(std::string_view name) {
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  const std::size_t dash = name.find('-');
  if (dash == 0 || dash == std::string_view::npos) return false;
  const auto is_decimal = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_hexadecimal = [&](char c) { return is_decimal(c) || (c >= 'a' && c <= 'f'); };
  const std::string_view pid = name.substr(0, dash), random = name.substr(dash + 1);
  return random.size() == kRandomDigits && std::all_of(pid.begin(), pid.end(), is_decimal) &&
         std::all_of(random.begin(), random.end(), is_hexadecimal);
}

/// Locks a file that was just created. False if another process has taken it for a leftover in the meantime and removes
/// it. On a file system without locks this succeeds: there, nothing is taken for a leftover.
bool hold(int descriptor) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  struct stat now {};
  return ::fstat(descriptor, &now) == 0 && now.st_nlink > 0;
}

std::string reason_of(int code) { return std::strerror(code); }

}  // namespace

fs::path temporary_beside(const fs::path& path) {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), 0) != sizeof(number)) {
    throw Error(text("no random number for a temporary name: ", reason_of(errno)));
  }
  return path.parent_path() / text(kPrefix, ::getpid(), '-', hexadecimal(number));
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  struct stat old {};
  if (::stat(path_.c_str(), &old) == 0) {
    if (!S_ISREG(old.st_mode)) throw Error(text(path_.string(), " cannot be written: it is not a regular file"));
  } else if (errno != ENOENT) {
    fail(errno);
  }
  do {
    if (descriptor_ >= 0) ::close(descriptor_);
    temporary_ = temporary_beside(path_);
    descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (descriptor_ < 0 && errno != EEXIST) fail(errno);
  } while (descriptor_ < 0 || !hold(descriptor_));
  // A private file stays private, and one that others could write to does not stay so. Some file systems have no modes.
  if (S_ISREG(old.st_mode)) (void)::fchmod(descriptor_, (old.st_mode & 0644) | 0600);
}

AtomicFile::~AtomicFile() {
  if (!is_committed_) ::unlink(temporary_.c_str());
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AtomicFile::write(const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, at, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    at += written;
    size -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::reopen() {
  const int other = ::open(temporary_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (other < 0) fail(errno);
  ::close(std::exchange(descriptor_, other));
  hold(descriptor_);
}

void AtomicFile::commit(bool sync) {
  if (::fsync(descriptor_) != 0) fail(errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  is_committed_ = true;
  if (sync) sync_folder(path_.parent_path());
}

void AtomicFile::fail(int reason) const {
  throw Error(text(path_.string(), " cannot be written: ", reason_of(reason)));
}

AtomicFolder::AtomicFolder(fs::path path) : path_(path.has_filename() ? std::move(path) : path.parent_path()) {
  do {
    if (descriptor_ >= 0) ::close(descriptor_);
    temporary_ = temporary_beside(path_);
    const bool is_made = ::mkdir(temporary_.c_str(), 0755) == 0;
    if (!is_made && errno == EEXIST) continue;
    descriptor_ = is_made ? ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (is_made && descriptor_ < 0 && errno == ENOENT) continue;  // taken for a leftover
    if (descriptor_ < 0) {
      const int reason = errno;
      if (is_made) ::rmdir(temporary_.c_str());
      throw Error(text(path_.string(), " cannot be created: ", reason_of(reason)));
    }
  } while (descriptor_ < 0 || !hold(descriptor_));
}

AtomicFolder::~AtomicFolder() {
  std::error_code failure;
  if (!is_committed_) fs::remove_all(temporary_, failure);
  if (failure) {
    std::cerr << "warning: " << quoted(temporary_.string()) << " cannot be removed: " << failure.message() << '\n';
  }
  ::close(descriptor_);
}

void AtomicFolder::commit() {
  sync_folder(temporary_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    if (reason == ENOTEMPTY || reason == EEXIST || reason == ENOTDIR) {
      throw NameTaken(text(path_.string(), " cannot be created: it exists"));
    }
    throw Error(text(path_.string(), " cannot be created: ", reason_of(reason)));
  }
  is_committed_ = true;
  sync_folder(path_.parent_path());
}

void sync_folder(const fs::path& named) {
  const fs::path folder = named.empty() ? "." : named;
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool good = descriptor >= 0 && (::fsync(descriptor) == 0 || errno == EINVAL);
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!good) throw Error(text(folder.string(), " cannot be synced: ", reason_of(reason)));
}

void remove_leftovers(const fs::path& folder) {
  std::error_code ignored;
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    if (is_temporary(entry->path().filename().string())) found.push_back(entry->path());
  }
  for (const fs::path& path : found) {
    // O_NONBLOCK: a pipe with such a name must not block.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) continue;
    struct stat what {};
    const bool is_ours = ::fstat(descriptor, &what) == 0 && (S_ISREG(what.st_mode) || S_ISDIR(what.st_mode));
    if (is_ours && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) fs::remove_all(path, ignored);
    ::close(descriptor);
  }
}

}  // namespace casdm
