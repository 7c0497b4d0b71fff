#include "framework/training/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <set>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"
#include "framework/support/run_contents.h"
#include "framework/support/shell_word.h"
#include "framework/training/log_file.h"
#include "framework/training/replaced_run.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

const std::set<std::string> kFolders = {"checkpoints", "samples"};
constexpr const char* kLock = ".lock";

std::string reason_of(int code) { return std::strerror(code); }

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

/// Whether a folder contains nothing but checkpoints/ and samples/, both empty, and files with these names.
bool is_unused(const fs::path& folder, const std::set<std::string>& files) {
  const std::vector<std::string> names = names_in(folder);
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    const fs::file_status status = fs::symlink_status(folder / name);
    if (fs::is_regular_file(status)) return files.contains(name);
    return kFolders.contains(name) && fs::is_directory(status) && names_in(folder / name).empty();
  });
}

/// Creates the folder and its parents; returns the ones that did not exist, outermost first.
std::vector<fs::path> make_folders(const fs::path& folder) {
  std::vector<fs::path> made;
  for (fs::path at = folder; !at.empty() && !fs::exists(at); at = at.parent_path()) made.insert(made.begin(), at);
  std::erase_if(made, [](const fs::path& at) { return !fs::create_directory(at); });
  for (const fs::path& at : made) sync_folder(at.parent_path());
  return made;
}

std::string now_in_utc() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char buffer[32];
  return {buffer, std::strftime(buffer, sizeof(buffer), "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

/// Who holds a lock, for the next process that wants it.
std::string holder() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return text("process ", ::getpid(), " on ", host, " since ", now_in_utc());
}

std::shared_ptr<const int> held(int descriptor) {
  return {new int(descriptor), [](const int* number) {
            ::close(*number);
            delete number;
          }};
}

/// Whether a file has another name, as in a copy of its folder that was made of hard links (cp -al).
bool is_shared(const fs::path& file) {
  std::error_code missing;
  return fs::is_regular_file(fs::symlink_status(file)) && fs::hard_link_count(file, missing) > 1 && !missing;
}

/// What the holder wrote, shortened and printable: anybody may have written the file.
std::string holder_in(int descriptor) {
  char buffer[200];
  const ssize_t size = ::pread(descriptor, buffer, sizeof(buffer), 0);
  std::string line(buffer, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  line = line.substr(0, line.find('\n'));
  return line.empty() ? "" : ": " + printable(line);
}

}  // namespace

RunFolder RunFolder::create(const fs::path& path, const Value& resolved) {
  RunFolder run(path);
  try {
    run.made_ = make_folders(path.parent_path());
    remove_leftovers(path.has_parent_path() ? path.parent_path() : ".");
    if (is_unused(path, {})) {
      for (const std::string& name : kFolders) ::rmdir((path / name).c_str());
    }
    AtomicFolder folder(path);
    RunFolder temporary(folder.temporary());
    for (const std::string& name : kFolders) fs::create_directory(temporary.path() / name);
    write_file(temporary.config(), to_toml(resolved));
    run.lock_ = temporary.locked(temporary.path());
    folder.commit();
  } catch (const NameTaken&) {
    const bool is_run = is_run_folder(path);
    throw ConfigError(
        text(is_run ? "the run folder " : "", path.string(), " exists",
             is_run ? text(". Continue it with `casdm train --resume ", shell_word(path.string()), "`, or choose")
                    : " and is not a run folder; choose",
             " another name: --set run.name=NAME"));
  } catch (const fs::filesystem_error& error) {
    throw Error(text(path.string(), " cannot be created: ", error.code().message()));
  }
  return run;
}

RunFolder RunFolder::open(const fs::path& path) {
  RunFolder run(path);
  if (!is_run_folder(path)) throw ConfigError(why_no_run(path));
  return run;
}

void RunFolder::remove_if_unused() const {
  if (!is_unused(path_, {"config.toml", "init.json", kLock})) return;
  std::error_code ignored;
  const fs::path gone = temporary_beside(path_);
  fs::rename(path_, gone, ignored);
  if (ignored) return;
  fs::remove_all(gone, ignored);
  for (auto above = made_.rbegin(); above != made_.rend(); ++above) ::rmdir(above->c_str());
}

void RunFolder::settle() {
  if (replaced_) replaced_->remove();
  replaced_.reset();
}

void RunFolder::lock() {
  if (lock_) return;
  for (const fs::path& folder : {checkpoints(), samples(), ema(), path_ / "evaluation"}) require_own_folder(folder);
  lock_ = locked(path_);
  if (is_shared(log())) write_file(log(), read_file(log()));  // the only file that is changed in place
  for (const fs::path& folder : {path_, checkpoints(), samples(), ema()}) remove_leftovers(folder);
}

std::shared_ptr<const int> RunFolder::locked(const fs::path& folder) const {
  const fs::path file = folder / kLock;
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
  if (descriptor < 0) throw Error(text(file.string(), " cannot be written: ", reason_of(errno)));
  std::shared_ptr<const int> lock = held(descriptor);
  // A file system without locks: other processes cannot be detected.
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw Error(text("another process is training in ", folder.string(), holder_in(descriptor),
                     ". Wait until it ends, or end it",
                     is_shared(file) ? "; if it trains a copy of this run made of hard links, remove this .lock" : ""));
  }
  const std::string line = holder() + "\n";
  if (is_shared(file)) {
    AtomicFile own(file);
    own.write(line);
    const int copy = ::fcntl(own.descriptor(), F_DUPFD_CLOEXEC, 0);  // with the lock that AtomicFile holds
    if (copy < 0) throw Error(text(file.string(), " cannot be written: ", reason_of(errno)));
    own.commit();
    return held(copy);
  }
  if (::ftruncate(descriptor, 0) != 0 || ::pwrite(descriptor, line.data(), line.size(), 0) < 0) {
    throw Error(text(file.string(), " cannot be written: ", reason_of(errno)));
  }
  return lock;
}

void RunFolder::require_in_place() const {
  const fs::path file = path_ / kLock;
  if (!lock_ || (!fs::exists(file) && fs::exists(path_))) return;  // somebody removed the lock alone
  const std::optional<fs::path> now = moved_to(*lock_, file);
  if (!now) return;
  const fs::path folder = now->parent_path();
  const bool is_moved = !now->empty();
  throw Error(
      text("the run folder ", path_.string(), " was ", is_moved ? "moved to " + quoted(folder.string()) : "removed",
           " while it was being trained; nothing more is written",
           is_moved ? text(". Continue it with `casdm train --resume ", shell_word(folder.string()), "`") : ""));
}

void RunFolder::append(const Value& record) const {
  require_in_place();
  append_line(log(), to_json(record));
}

void RunFolder::sync() const {
  require_in_place();
  sync_lines(log());
  if (fs::is_directory(samples())) sync_folder(samples());
  sync_folder(path_);
}

}  // namespace casdm
