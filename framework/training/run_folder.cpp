#include "framework/training/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

RunFolder RunFolder::create(const fs::path& path, const Value& resolved) {
  if (fs::exists(path)) {
    throw ConfigError(text("the run folder ", path.string(), " exists. Continue it with `casdm train --resume ",
                           path.string(), "`, or choose another name: --set run.name=NAME"));
  }
  std::error_code failure;
  RunFolder run(path);
  fs::create_directories(run.checkpoints(), failure);
  if (!failure) fs::create_directories(run.samples(), failure);
  if (failure) throw Error(text(path.string(), " cannot be made: ", failure.message()));
  write_file(run.config(), to_toml(resolved));
  return run;
}

RunFolder RunFolder::open(const fs::path& path) {
  RunFolder run(path);
  if (!fs::is_regular_file(run.config())) {
    throw ConfigError(text(path.string(), " is no run folder: it holds no config.toml"));
  }
  return run;
}

void RunFolder::remove_if_unused() const {
  std::error_code ignored;
  if (fs::exists(path_ / "metrics.jsonl", ignored) || fs::exists(ema(), ignored)) return;
  if (!fs::is_empty(checkpoints(), ignored)) return;
  fs::remove_all(path_, ignored);
}

void RunFolder::lock() {
  const fs::path file = path_ / ".lock";
  // Kept open, and so locked, until the process ends.
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) throw Error(text(file.string(), " cannot be written: ", std::strerror(errno)));
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor);
    throw Error(text("another process is training in ", path_.string()));
  }
}

void RunFolder::append(const Value& record) const {
  const fs::path file = path_ / "metrics.jsonl";
  const std::string line = to_json(record) + "\n";
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const ssize_t written = descriptor < 0 ? -1 : ::write(descriptor, line.data(), line.size());
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (written == static_cast<ssize_t>(line.size())) return;
  throw Error(text(file.string(), " cannot be written: ", written < 0 ? std::strerror(reason) : "the disk is full"));
}

void RunFolder::sync_log() const {
  const fs::path file = path_ / "metrics.jsonl";
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 && errno == ENOENT) return;
  const bool good = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!good) throw Error(text(file.string(), " cannot be synced: ", std::strerror(reason)));
  sync_folder(path_);
}

}  // namespace casdm
