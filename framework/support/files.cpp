#include "framework/support/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <system_error>
#include <vector>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/sha256.h"

namespace casdm {

namespace {

constexpr int kMostNeighbours = 1000;

}  // namespace

std::string sha256(std::string_view content) {
  Sha256 hash;
  hash.update(content);
  return hash.hexadecimal();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(text(path.string(), " cannot be read: ", std::strerror(errno)));
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0) {
    hash.update({buffer.data(), static_cast<std::size_t>(file.gcount())});
  }
  if (file.bad()) throw Error(text(path.string(), " cannot be read to its end"));
  return hash.hexadecimal();
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const std::filesystem::path& path) {
  return read_regular_file(path, std::numeric_limits<std::size_t>::max());
}

void link_or_copy(const std::filesystem::path& file, const std::filesystem::path& folder) {
  const std::filesystem::path target = folder / file.filename();
  std::error_code failure;
  const bool is_link = std::filesystem::is_symlink(file, failure);
  if (!is_link) std::filesystem::create_hard_link(file, target, failure);
  if (!is_link && !failure) return;
  std::ifstream source(file, std::ios::binary);
  AtomicFile copy(target);
  std::vector<char> buffer(1 << 20);
  while (source.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || source.gcount() > 0) {
    copy.write({buffer.data(), static_cast<std::size_t>(source.gcount())});
  }
  if (!source.eof()) throw Error(text(file.string(), " cannot be read to its end"));
  copy.commit();
}

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string near_path(const std::filesystem::path& path, std::string_view extension) {
  namespace fs = std::filesystem;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entry(folder, error);
  for (int i = 0; i < kMostNeighbours && !error && entry != fs::directory_iterator(); ++i, entry.increment(error)) {
    const fs::path& candidate = entry->path();
    if (extension.empty() || candidate.extension() == extension) names.push_back(candidate.filename().string());
  }
  const std::vector<std::string> likely = nearest(path.filename().string(), names, 1);
  return likely.empty() ? "" : (path.parent_path() / likely.front()).string();
}

std::string read_regular_file(const std::filesystem::path& path, std::size_t most) {
  const auto fail = [&](const std::string& why) { throw Error(text(path.string(), " ", why)); };
  const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) fail(text("cannot be read: ", std::strerror(errno)));
  const std::unique_ptr<const int, void (*)(const int*)> closer(&file, [](const int* open) { ::close(*open); });
  struct stat status {};
  if (::fstat(file, &status) != 0) fail(text("cannot be read: ", std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) fail("is not a regular file");
  std::string content;
  char buffer[1 << 16];
  for (ssize_t count; (count = ::read(file, buffer, sizeof(buffer))) != 0;) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(text("cannot be read: ", std::strerror(errno)));
    content.append(buffer, static_cast<std::size_t>(count));
    if (content.size() > most) fail(text("is larger than ", most, " bytes, the most that is read"));
  }
  return content;
}

}  // namespace casdm
