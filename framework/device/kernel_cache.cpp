#include "framework/device/kernel_cache.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "casdm/atomic_file.h"
#include "casdm/user_folder.h"
#include "framework/loading/trusted_path.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kExtension = ".cubin";
constexpr std::size_t kSumLength = 64;
constexpr std::size_t kLargestKernel = 16 << 20;

/// A file consists of the SHA-256 of the code, in hexadecimal, and the code.
std::optional<std::string> read_kernel(const fs::path& file) {
  try {
    if (!is_there(file) || !distrust(fs::canonical(file)).empty()) return std::nullopt;
    const std::string content = read_regular_file(file, kLargestKernel);
    if (content.size() <= kSumLength) return std::nullopt;
    std::string code = content.substr(kSumLength);
    if (content.substr(0, kSumLength) != sha256(code)) return std::nullopt;
    std::error_code ignored;
    fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);  // when it was last used
    return code;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

/// Until the files beside `spared` and itself have at most `most` bytes.
void remove_oldest(const fs::path& spared, std::uintmax_t most) {
  std::vector<std::tuple<fs::file_time_type, std::uintmax_t, fs::path>> files;
  std::uintmax_t bytes = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(spared.parent_path())) {
    std::error_code gone;  // another process may remove it
    const std::uintmax_t size = entry.path().extension() == kExtension ? entry.file_size(gone) : 0;
    if (gone || size == 0) continue;
    bytes += size;
    if (entry.path() != spared) files.emplace_back(entry.last_write_time(gone), size, entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& [used, size, path] : files) {
    if (bytes <= most) return;
    std::error_code gone;
    fs::remove(path, gone);
    bytes -= size;
  }
}

void write_kernel(const fs::path& file, const std::string& code, std::uintmax_t most) {
  try {
    fs::create_directories(file.parent_path());
    remove_leftovers(file.parent_path());
    write_file(file, sha256(code) + code);
    remove_oldest(file, most);
  } catch (const std::exception&) {  // the next process compiles it again
  }
}

}  // namespace

std::optional<fs::path> kernel_folder() {
  const auto cache = user_folder(UserFolder::cache);
  return cache ? std::optional(*cache / "kernels") : std::nullopt;
}

KernelCache::KernelCache(std::optional<fs::path> folder, std::uintmax_t most)
    : folder_(std::move(folder)), most_(most) {}

std::string KernelCache::code(const std::string& origin, const std::function<std::string()>& compile) const {
  if (!folder_) return compile();
  const fs::path file = *folder_ / (sha256(origin) + kExtension);
  if (std::optional<std::string> known = read_kernel(file)) return *std::move(known);
  std::string code = compile();
  write_kernel(file, code, most_);
  return code;
}

}  // namespace casdm
