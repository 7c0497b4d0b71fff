// Preloaded by the drivers of this folder. Counts the calls that change a folder, and makes one of them fail, kill the
// process, or lose what was not synced, like a power failure. A plan is a list of words:
//
//   under=PATH           only calls on this folder and what is in it count, from 1; without it nothing happens
//   report=FILE          a line for each of them: number, call, path
//   at=N                 the call that goes wrong
//   fail=ERRNO [last=M]  calls N to M (N alone) return this error
//   kill=before|after|within   SIGKILL before or after call N, or after half of the data it writes;
//                        delay=MICROSECONDS: later; signal=NUMBER: another signal, after which the process may continue
//   cut=ordered|strict shadow=DIR   a power failure before call N. Files shrink to what was synced. Names go back to
//                        their last synced state: with `ordered`, any fsync keeps every earlier name, as on ext4 and
//                        XFS; with `strict`, only an fsync of their own folder does. DIR, on the same disk, keeps
//                        earlier files.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <vector>

#include "plan.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

struct Plan {
  std::string under, report, fail, kill, cut, shadow;
  long at = 0, last = 0, delay = 0, signal = SIGKILL;
};

/// A name that changed after its folder was last synced.
struct NameChange {
  enum Kind { kMade, kMoved, kRemoved, kFolderMade, kFolderRemoved } kind;
  std::string path, from, shadow;  ///< shadow: a link to what `path` held before
};

Plan plan;
long calls = 0;
int report_file = -1;
std::recursive_mutex mutex;
std::map<std::string, off_t> synced_sizes;
std::vector<NameChange> name_changes;

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

std::string absolute(int folder, const char* path) {
  char base[4096];
  if (path[0] == '/') return path;
  if (folder == AT_FDCWD) {
    if (syscall(SYS_getcwd, base, sizeof(base)) < 0) return path;
    return std::string(base) + "/" + path;
  }
  char link[64];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", folder);
  const ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof(base));
  return std::string(base, size < 0 ? 0 : static_cast<size_t>(size)) + (path[0] == 0 ? "" : "/") + path;
}

std::string path_of(int descriptor) { return absolute(descriptor, ""); }

bool is_under(const std::string& path) {
  return !plan.under.empty() && path.compare(0, plan.under.size(), plan.under) == 0 &&
         (path.size() == plan.under.size() || path[plan.under.size()] == '/');
}

std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

void die() { syscall(SYS_kill, getpid(), plan.signal); }

void undo(const NameChange& change) {
  switch (change.kind) {
    case NameChange::kMade:
      syscall(SYS_unlink, change.path.c_str());
      break;
    case NameChange::kMoved:
      syscall(SYS_rename, change.path.c_str(), change.from.c_str());
      break;
    case NameChange::kFolderMade:
      syscall(SYS_rmdir, change.path.c_str());
      break;
    case NameChange::kFolderRemoved:
      syscall(SYS_mkdir, change.path.c_str(), 0755);
      break;
    case NameChange::kRemoved:
      break;
  }
  if (!change.shadow.empty()) syscall(SYS_link, change.shadow.c_str(), change.path.c_str());
}

void cut_power() {
  for (const auto& [path, size] : synced_sizes) {
    struct stat now {};
    if (stat(path.c_str(), &now) == 0 && now.st_size > size) syscall(SYS_truncate, path.c_str(), size);
  }
  for (auto change = name_changes.rbegin(); change != name_changes.rend(); ++change) undo(*change);
  die();
}

std::string shadow_of(const std::string& path) {
  if (plan.cut.empty()) return "";
  const std::string shadow = plan.shadow + "/" + std::to_string(getpid()) + "-" + std::to_string(calls);
  return syscall(SYS_link, path.c_str(), shadow.c_str()) == 0 ? shadow : "";
}

void note_name(NameChange::Kind kind, const std::string& path, const std::string& from = "",
               const std::string& shadow = "") {
  if (!plan.cut.empty()) name_changes.push_back({kind, path, from, shadow});
}

bool is_part(const std::string& path, const std::string& folder) {
  return path == folder || path.compare(0, folder.size() + 1, folder + "/") == 0;
}

std::string moved(const std::string& path, const std::string& from, const std::string& to) {
  return is_part(path, from) ? to + path.substr(from.size()) : path;
}

void note_sync(const std::string& path) {
  struct stat now {};
  if (stat(path.c_str(), &now) != 0) return;
  if (S_ISREG(now.st_mode)) synced_sizes[path] = now.st_size;
  const bool is_ordered = plan.cut == "ordered";
  std::vector<NameChange> open;
  for (const NameChange& change : name_changes) {
    if (!is_ordered && parent(change.path) != path) {
      open.push_back(change);
    } else if (change.kind == NameChange::kMoved) {
      // It now exists permanently: earlier changes in it must be undone at its current path.
      for (NameChange& before : open) {
        before.path = moved(before.path, change.from, change.path);
        before.from = moved(before.from, change.from, change.path);
      }
    }
  }
  name_changes = std::move(open);
}

/// A path was moved: the information about it and its contents moves with it.
void note_move(const std::string& from, const std::string& to) {
  std::map<std::string, off_t> sizes;
  for (const auto& [path, size] : synced_sizes) {
    if (!is_part(path, to)) sizes[moved(path, from, to)] = size;
  }
  synced_sizes = std::move(sizes);
}

void kill_if(const char* when) {
  if (plan.kill != when || calls != plan.at) return;
  if (plan.delay > 0) {
    const timespec pause = {plan.delay / 1000000, plan.delay % 1000000 * 1000};
    nanosleep(&pause, nullptr);
  }
  die();
}

/// Counts the call. False: it must fail, and errno is set.
bool may_go_on(const char* call, const std::string& path) {
  ++calls;
  if (report_file >= 0) {
    const std::string line = std::to_string(calls) + " " + call + " " + path + "\n";
    syscall(SYS_write, report_file, line.data(), line.size());
  }
  kill_if("before");
  if (!plan.cut.empty() && calls == plan.at) cut_power();
  if (plan.fail.empty() || calls < plan.at || calls > plan.last) return true;
  const std::map<std::string, int> errors = {{"ENOSPC", ENOSPC}, {"EIO", EIO},     {"EACCES", EACCES},
                                             {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EMFILE", EMFILE}};
  const auto found = errors.find(plan.fail);
  errno = found != errors.end() ? found->second : EIO;
  return false;
}

/// Runs a call on a path that counts; `after` records what it did.
template <class Call, class After>
auto counted(const char* name, const std::string& path, Call call, After after) -> decltype(call()) {
  if (!is_under(path)) return call();
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  if (!may_go_on(name, path)) return static_cast<decltype(call())>(-1);
  const auto result = call();
  const int reason = errno;
  if (result != static_cast<decltype(call())>(-1)) after();
  kill_if("after");
  errno = reason;
  return result;
}

bool is_writing(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0; }

int counted_open(int folder, const char* path, int flags, mode_t mode, int (*call)(int, const char*, int, ...)) {
  const std::string full = absolute(folder, path);
  if (!is_writing(flags) || !is_under(full)) return call(folder, path, flags, mode);
  struct stat before {};
  const bool is_new = stat(full.c_str(), &before) != 0;
  return counted(
      "open", full, [&] { return call(folder, path, flags, mode); },
      [&] {
        if (is_new) note_name(NameChange::kMade, full);
        if (is_new || (flags & O_TRUNC) != 0) {
          synced_sizes[full] = 0;
        } else {
          synced_sizes.emplace(full, before.st_size);
        }
      });
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

int counted_rename(const std::string& from, const std::string& to, auto call) {
  std::string shadow;
  return counted(
      "rename", is_under(to) ? to : from,
      [&] {
        if (is_under(to)) shadow = shadow_of(to);
        return call();
      },
      [&] {
        note_move(from, to);
        note_name(NameChange::kMoved, to, from, shadow);
      });
}

int counted_remove(const std::string& path, bool is_folder, auto call) {
  std::string shadow;
  return counted(
      is_folder ? "rmdir" : "unlink", path,
      [&] {
        if (!is_folder) shadow = shadow_of(path);
        return call();
      },
      [&] { note_name(is_folder ? NameChange::kFolderRemoved : NameChange::kRemoved, path, "", shadow); });
}

/// Writes half of the data and dies, if that is the plan for the next call.
template <class Half>
void kill_within(const std::string& path, Half half) {
  if (plan.kill != "within" || calls + 1 != plan.at || !is_under(path)) return;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  may_go_on("write", path);
  half();
  die();
}

const auto nothing = [] {};

}  // namespace

void set_fault_plan(const std::string& text) {
  plan = {};
  calls = 0;
  synced_sizes.clear();
  name_changes.clear();
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "under") plan.under = value;
    if (key == "report") plan.report = value;
    if (key == "fail") plan.fail = value;
    if (key == "kill") plan.kill = value;
    if (key == "cut") plan.cut = value;
    if (key == "shadow") plan.shadow = value;
    if (key == "at") plan.at = plan.last = std::stol(value);
    if (key == "last") plan.last = std::stol(value);
    if (key == "signal") plan.signal = std::stol(value);
    if (key == "delay") plan.delay = std::stol(value);
  }
  if (report_file >= 0) close(report_file);
  report_file = -1;
  if (!plan.report.empty()) {
    report_file = static_cast<int>(
        syscall(SYS_openat, AT_FDCWD, plan.report.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  }
}

namespace {
const bool is_planned = [] {
  const char* given = getenv("CASDM_FAULTS");
  if (given == nullptr) return false;
  set_fault_plan(given);
  unsetenv("CASDM_FAULTS");  // programs that this one starts are not affected
  return true;
}();
}  // namespace

EXPORTED int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return counted_open(folder, path, flags, mode, next<int(int, const char*, int, ...)>("openat"));
}

EXPORTED int openat64(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return counted_open(folder, path, flags, mode, next<int(int, const char*, int, ...)>("openat"));
}

EXPORTED int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return counted_open(AT_FDCWD, path, flags, mode, next<int(int, const char*, int, ...)>("openat"));
}

EXPORTED int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return counted_open(AT_FDCWD, path, flags, mode, next<int(int, const char*, int, ...)>("openat"));
}

EXPORTED FILE* fopen(const char* path, const char* mode) {
  const auto real = next<FILE*(const char*, const char*)>("fopen");
  const bool writes = strpbrk(mode, "wa+") != nullptr;
  const std::string full = absolute(AT_FDCWD, path);
  if (!writes || !is_under(full)) return real(path, mode);
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  struct stat before {};
  const bool is_new = stat(full.c_str(), &before) != 0;
  if (!may_go_on("open", full)) return nullptr;
  FILE* file = real(path, mode);
  if (file != nullptr && is_new) note_name(NameChange::kMade, full);
  if (file != nullptr) synced_sizes[full] = is_new || mode[0] == 'w' ? 0 : before.st_size;
  kill_if("after");
  return file;
}

EXPORTED FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }

EXPORTED ssize_t write(int descriptor, const void* data, size_t size) {
  const auto real = next<ssize_t(int, const void*, size_t)>("write");
  if (plan.under.empty()) return real(descriptor, data, size);
  const std::string path = path_of(descriptor);
  kill_within(path, [&] { real(descriptor, data, size / 2); });
  return counted(
      "write", path, [&] { return real(descriptor, data, size); }, nothing);
}

EXPORTED ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  const auto real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  if (plan.under.empty()) return real(descriptor, data, size, offset);
  const std::string path = path_of(descriptor);
  kill_within(path, [&] { real(descriptor, data, size / 2, offset); });
  return counted(
      "write", path, [&] { return real(descriptor, data, size, offset); }, nothing);
}

EXPORTED ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
  return pwrite(descriptor, data, size, offset);
}

EXPORTED ssize_t writev(int descriptor, const iovec* parts, int count) {
  const auto real = next<ssize_t(int, const iovec*, int)>("writev");
  if (plan.under.empty()) return real(descriptor, parts, count);
  const std::string path = path_of(descriptor);
  kill_within(path, [&] { real(descriptor, parts, count / 2); });
  return counted(
      "write", path, [&] { return real(descriptor, parts, count); }, nothing);
}

EXPORTED int fsync(int descriptor) {
  const auto real = next<int(int)>("fsync");
  if (plan.under.empty()) return real(descriptor);
  const std::string path = path_of(descriptor);
  return counted(
      "fsync", path, [&] { return real(descriptor); }, [&] { note_sync(path); });
}

EXPORTED int fdatasync(int descriptor) {
  const auto real = next<int(int)>("fdatasync");
  if (plan.under.empty()) return real(descriptor);
  const std::string path = path_of(descriptor);
  return counted(
      "fsync", path, [&] { return real(descriptor); }, [&] { note_sync(path); });
}

EXPORTED int ftruncate(int descriptor, off_t size) {
  const auto real = next<int(int, off_t)>("ftruncate");
  if (plan.under.empty()) return real(descriptor, size);
  return counted(
      "ftruncate", path_of(descriptor), [&] { return real(descriptor, size); }, nothing);
}

EXPORTED int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

EXPORTED int truncate(const char* path, off_t size) {
  const auto real = next<int(const char*, off_t)>("truncate");
  return counted(
      "ftruncate", absolute(AT_FDCWD, path), [&] { return real(path, size); }, nothing);
}

EXPORTED int truncate64(const char* path, off64_t size) { return truncate(path, size); }

EXPORTED int mkdir(const char* path, mode_t mode) {
  const auto real = next<int(const char*, mode_t)>("mkdir");
  const std::string full = absolute(AT_FDCWD, path);
  return counted(
      "mkdir", full, [&] { return real(path, mode); }, [&] { note_name(NameChange::kFolderMade, full); });
}

EXPORTED int mkdirat(int folder, const char* path, mode_t mode) {
  const auto real = next<int(int, const char*, mode_t)>("mkdirat");
  const std::string full = absolute(folder, path);
  return counted(
      "mkdir", full, [&] { return real(folder, path, mode); }, [&] { note_name(NameChange::kFolderMade, full); });
}

EXPORTED int rename(const char* from, const char* to) {
  const auto real = next<int(const char*, const char*)>("rename");
  return counted_rename(absolute(AT_FDCWD, from), absolute(AT_FDCWD, to), [&] { return real(from, to); });
}

EXPORTED int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  const auto real = next<int(int, const char*, int, const char*)>("renameat");
  return counted_rename(absolute(from_folder, from), absolute(to_folder, to),
                        [&] { return real(from_folder, from, to_folder, to); });
}

EXPORTED int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  const auto real = next<int(int, const char*, int, const char*, unsigned)>("renameat2");
  return counted_rename(absolute(from_folder, from), absolute(to_folder, to),
                        [&] { return real(from_folder, from, to_folder, to, flags); });
}

EXPORTED int link(const char* from, const char* to) {
  const auto real = next<int(const char*, const char*)>("link");
  const std::string full = absolute(AT_FDCWD, to);
  return counted(
      "link", full, [&] { return real(from, to); }, [&] { note_name(NameChange::kMade, full); });
}

EXPORTED int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  const auto real = next<int(int, const char*, int, const char*, int)>("linkat");
  const std::string full = absolute(to_folder, to);
  return counted(
      "link", full, [&] { return real(from_folder, from, to_folder, to, flags); },
      [&] { note_name(NameChange::kMade, full); });
}

EXPORTED int symlink(const char* target, const char* path) {
  const auto real = next<int(const char*, const char*)>("symlink");
  const std::string full = absolute(AT_FDCWD, path);
  return counted(
      "link", full, [&] { return real(target, path); }, [&] { note_name(NameChange::kMade, full); });
}

EXPORTED int unlink(const char* path) {
  const auto real = next<int(const char*)>("unlink");
  return counted_remove(absolute(AT_FDCWD, path), false, [&] { return real(path); });
}

EXPORTED int rmdir(const char* path) {
  const auto real = next<int(const char*)>("rmdir");
  return counted_remove(absolute(AT_FDCWD, path), true, [&] { return real(path); });
}

EXPORTED int unlinkat(int folder, const char* path, int flags) {
  const auto real = next<int(int, const char*, int)>("unlinkat");
  return counted_remove(absolute(folder, path), (flags & AT_REMOVEDIR) != 0, [&] { return real(folder, path, flags); });
}

EXPORTED int remove(const char* path) {
  struct stat now {};
  const bool is_folder = lstat(path, &now) == 0 && S_ISDIR(now.st_mode);
  return is_folder ? rmdir(path) : unlink(path);
}
