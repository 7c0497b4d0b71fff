#include "framework/training/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kResumed = "resumed";
constexpr std::int64_t kMarked = 1 << 16;  // bytes of a log whose SHA-256 is in its mark

/// Throws Error with the system's reason if closing fails.
class OpenFile {
 public:
  OpenFile(const fs::path& path, int flags) : path_(path) {
    descriptor_ = ::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
  }
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }

  void check(bool good) const {
    if (!good) throw Error(text(path_.string(), " cannot be written: ", std::strerror(errno)));
  }

 private:
  const fs::path& path_;
  int descriptor_;
};

/// The end of the last complete line.
off_t end_of_whole_lines(const OpenFile& file, off_t size) {
  char block[4096];
  while (size > 0) {
    const off_t start = std::max<off_t>(0, size - static_cast<off_t>(sizeof(block)));
    const ssize_t got = ::pread(file.descriptor(), block, static_cast<std::size_t>(size - start), start);
    file.check(got == size - start);
    const std::string_view read(block, static_cast<std::size_t>(got));
    const std::size_t newline = read.rfind('\n');
    if (newline != std::string_view::npos) return start + static_cast<off_t>(newline) + 1;
    size = start;
  }
  return 0;
}

std::int64_t images_of(std::string_view line) {
  try {
    const Value record = from_json(line);
    const Value* images = record.find("images");
    return images != nullptr && images->is_integer() ? images->as_integer() : -1;
  } catch (const Error&) {
    return -1;
  }
}

bool is_resume(std::string_view line) {
  try {
    const Value record = from_json(line);
    const Value* mark = record.find(kResumed);
    return mark != nullptr && mark->is_boolean() && mark->as_boolean();
  } catch (const Error&) {
    return false;
  }
}

/// Of the first `bytes` bytes of a file.
Value mark_at(const fs::path& path, std::int64_t bytes) {
  std::string end(static_cast<std::size_t>(std::min(bytes, kMarked)), '\0');
  if (bytes > 0) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(bytes - std::ssize(end)).read(end.data(), std::ssize(end));
    if (!file) throw Error(text(path.string(), " cannot be read"));
  }
  return Value::Table{{"bytes", bytes}, {"sha256", sha256(end)}};
}

std::int64_t size_of(const fs::path& path) {
  return fs::is_regular_file(path) ? static_cast<std::int64_t>(fs::file_size(path)) : 0;
}

}  // namespace

void append_line(const fs::path& path, const std::string& line) {
  const OpenFile file(path, O_RDWR | O_CREAT);
  file.check(file.descriptor() >= 0);
  struct stat now {};
  file.check(::fstat(file.descriptor(), &now) == 0);
  if (!S_ISREG(now.st_mode)) throw Error(text(path.string(), " cannot be written: it is not a regular file"));
  const off_t end = end_of_whole_lines(file, now.st_size);
  if (end < now.st_size) file.check(::ftruncate(file.descriptor(), end) == 0);
  const std::string bytes = line + "\n";
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t written =
        ::pwrite(file.descriptor(), bytes.data() + done, bytes.size() - done, end + static_cast<off_t>(done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      // If this fails as well, the next call removes the incomplete line.
      [[maybe_unused]] const int cut = ::ftruncate(file.descriptor(), end);
      errno = reason;
      file.check(false);
    }
    done += static_cast<std::size_t>(written);
  }
}

void sync_lines(const fs::path& path) {
  const OpenFile file(path, O_RDONLY);
  if (file.descriptor() < 0 && errno == ENOENT) return;
  file.check(file.descriptor() >= 0 && ::fsync(file.descriptor()) == 0);
}

std::uintmax_t end_of_lines(const fs::path& path, std::int64_t images) {
  const fs::file_status status = fs::symlink_status(path);
  if (!fs::exists(status)) return 0;
  if (!fs::is_regular_file(status)) throw Error(text(path.string(), " is not a regular file"));
  const std::string content = read_file(path);
  // Only the end is checked: earlier lines were checked by whoever wrote after them.
  std::size_t end = content.rfind('\n') + 1;
  std::size_t keep = content.size();
  for (std::size_t at = content.size(); at > 0;) {
    const std::size_t newline = at > 1 ? content.rfind('\n', at - 2) : std::string::npos;
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const std::int64_t seen = images_of(std::string_view(content).substr(begin, at - begin));
    if (seen > images) keep = begin;
    if (seen >= 0 && seen <= images) break;
    at = begin;
  }
  return std::min(end, keep);
}

Value mark_of_log(const fs::path& path) { return mark_at(path, size_of(path)); }

bool holds_mark(const fs::path& path, const Value& mark, std::int64_t images) {
  const Value* bytes = mark.is_table() ? mark.find("bytes") : nullptr;
  if (bytes == nullptr || !bytes->is_integer() || bytes->as_integer() < 0) return false;
  const std::int64_t marked = bytes->as_integer(), size = size_of(path);
  if (size == 0) return true;
  const bool ends_there = static_cast<std::int64_t>(end_of_lines(path, images - 1)) <= marked;
  return marked <= size && ends_there && mark_at(path, marked) == mark;
}

Value last_resume(const fs::path& path) {
  const Value none{Value::Table{}};
  if (!fs::is_regular_file(path)) return none;
  const std::string content = read_file(path);
  for (std::size_t end = content.rfind('\n'); end != std::string::npos && end > 0;) {
    const std::size_t newline = content.rfind('\n', end - 1);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    if (line.find(kResumed) != std::string_view::npos && is_resume(line)) return from_json(line);
    end = newline;
  }
  return none;
}

}  // namespace casdm
