#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "casdm/api.h"
#include "casdm/error.h"

/// Files and folders that appear whole or not at all.
///
/// Both are written under a temporary name beside the target, ".tmp-<pid>-<16 hexadecimal digits>", which is created
/// exclusively: an existing file of that name, even a symbolic link, is never opened. While a process writes, it
/// holds a lock (flock) on what it writes, so that `remove_leftovers` can tell what a dead process left behind.
namespace casdm CASDM_API {

/// A file that replaces `path` at `commit()`, after its content has reached the disk. Until then, and when anything
/// fails, `path` is unchanged; without `commit()` nothing is left behind.
///
///     AtomicFile file("weights.safetensors");
///     file.write(header);
///     file.write(data, size);
///     file.commit();
///
/// A symbolic link at `path` is replaced, and the file it leads to is left alone. Anything other than a regular file
/// (a folder, a device, a pipe, or a link to one) is refused.
///
/// Every function throws Error with `path` and the system's reason. For one thread.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }

  /// Syncs the file, renames it to `path` and syncs the folder. Not to be called twice.
  /// @param sync_folder  false for one of many files: after a power cut its name may be missing, and the
  ///                     file is whole where the name is there
  void commit(bool sync_folder = true);

  /// For libraries that write by themselves: the open file, at the end of what was written, and its name.
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& temporary() const { return temporary_; }

  /// Takes over the file that a library has put under `temporary()` instead of this one.
  void reopen();

 private:
  [[noreturn]] void fail(int reason) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool is_committed_ = false;
};

/// The name of an AtomicFolder is taken.
class NameTaken : public Error {
 public:
  using Error::Error;
};

/// A folder that appears as `path` at `commit()`, with all its content. Without `commit()` nothing is left behind.
class AtomicFolder {
 public:
  /// Makes the temporary folder; the one above must exist. Throws Error.
  explicit AtomicFolder(std::filesystem::path path);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  /// Where to write. Whoever writes a file syncs it.
  const std::filesystem::path& temporary() const { return temporary_; }

  /// Syncs the folder's entries, renames it to `path` and syncs the folder above. An empty folder of that name is
  /// replaced; throws NameTaken when anything else is there, Error when a step fails. Not to be called twice.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool is_committed_ = false;
};

/// A temporary name beside `path`, of the form above, unused when this was called.
std::filesystem::path temporary_beside(const std::filesystem::path& path);

/// Makes the names in `folder` durable. Throws Error; a file system that cannot sync folders is not an error.
void sync_folder(const std::filesystem::path& folder);

/// Removes what dead processes (killed, a power cut) left in `folder` under temporary names. What a process is still
/// writing stays, and so do files with other names. Files that cannot be removed are silently kept.
void remove_leftovers(const std::filesystem::path& folder);

}  // namespace casdm
