// Preloaded by the drivers of this folder. Counts the calls that change a folder, and makes one of them fail, kill the
// process, or lose what was not synced, like a power failure, as the plan in CASDM_FAULTS says (plan.h).
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
#include <string>

#include "plan.h"
#include "power_cut.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

Plan plan;
long calls = 0;
int report_file = -1;
std::recursive_mutex mutex;
PowerCut power;

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

void die() { syscall(SYS_kill, getpid(), plan.signal); }

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
  if (power.is_planned() && calls == plan.at) {
    power.strike();
    die();
  }
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
        if (is_new) power.note_name(NameChange::kMade, full);
        if (is_new || (flags & O_TRUNC) != 0) {
          power.note_size(full, 0);
        } else {
          power.note_first_size(full, before.st_size);
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
        if (is_under(to)) shadow = power.keep(to, calls);
        return call();
      },
      [&] {
        power.note_move(from, to);
        power.note_name(NameChange::kMoved, to, from, shadow);
      });
}

int counted_remove(const std::string& path, bool is_folder, auto call) {
  std::string shadow;
  return counted(
      is_folder ? "rmdir" : "unlink", path,
      [&] {
        if (!is_folder) shadow = power.keep(path, calls);
        return call();
      },
      [&] { power.note_name(is_folder ? NameChange::kFolderRemoved : NameChange::kRemoved, path, "", shadow); });
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

void set_fault_plan(const std::string& words) {
  plan = plan_of(words);
  power = PowerCut(plan.cut, plan.shadow);
  calls = 0;
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
  if (file != nullptr && is_new) power.note_name(NameChange::kMade, full);
  if (file != nullptr) power.note_size(full, is_new || mode[0] == 'w' ? 0 : before.st_size);
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
      "fsync", path, [&] { return real(descriptor); }, [&] { power.note_sync(path); });
}

EXPORTED int fdatasync(int descriptor) {
  const auto real = next<int(int)>("fdatasync");
  if (plan.under.empty()) return real(descriptor);
  const std::string path = path_of(descriptor);
  return counted(
      "fsync", path, [&] { return real(descriptor); }, [&] { power.note_sync(path); });
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
      "mkdir", full, [&] { return real(path, mode); }, [&] { power.note_name(NameChange::kFolderMade, full); });
}

EXPORTED int mkdirat(int folder, const char* path, mode_t mode) {
  const auto real = next<int(int, const char*, mode_t)>("mkdirat");
  const std::string full = absolute(folder, path);
  return counted(
      "mkdir", full, [&] { return real(folder, path, mode); }, [&] { power.note_name(NameChange::kFolderMade, full); });
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
      "link", full, [&] { return real(from, to); }, [&] { power.note_name(NameChange::kMade, full); });
}

EXPORTED int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  const auto real = next<int(int, const char*, int, const char*, int)>("linkat");
  const std::string full = absolute(to_folder, to);
  return counted(
      "link", full, [&] { return real(from_folder, from, to_folder, to, flags); },
      [&] { power.note_name(NameChange::kMade, full); });
}

EXPORTED int symlink(const char* target, const char* path) {
  const auto real = next<int(const char*, const char*)>("symlink");
  const std::string full = absolute(AT_FDCWD, path);
  return counted(
      "link", full, [&] { return real(target, path); }, [&] { power.note_name(NameChange::kMade, full); });
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
