#include "framework/device/kernel_cache.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace fs = std::filesystem;

namespace {

/// The code of the kernel `origin`, and whether it was compiled for it.
struct Found {
  std::string code;
  bool is_compiled = false;
};

/// Code with zeros and all other bytes, as machine code has.
std::string code_of(const std::string& origin) {
  std::string code = origin;
  for (int i = 0; i < 1000; ++i) code += static_cast<char>(i * 7);
  return code;
}

Found look_up(const KernelCache& cache, const std::string& origin) {
  Found found;
  found.code = cache.code(origin, [&] {
    found.is_compiled = true;
    return code_of(origin);
  });
  return found;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  return {fs::directory_iterator(folder), fs::directory_iterator()};
}

}  // namespace

TEST_CASE("a compiled kernel is compiled once for all processes, and anew when anything that it depends on differs") {
  const TemporaryFolder folder;
  const fs::path kernels = folder.path() / "cache" / "kernels";
  CHECK(look_up(KernelCache(kernels), "sm_90 a").is_compiled);
  const Found again = look_up(KernelCache(kernels), "sm_90 a");
  CHECK_FALSE(again.is_compiled);
  CHECK(again.code == code_of("sm_90 a"));
  CHECK(look_up(KernelCache(kernels), "sm_80 a").is_compiled);
  CHECK(files_in(kernels).size() == 2);
}

TEST_CASE("an altered file of a compiled kernel is not used, and replaced") {
  const TemporaryFolder folder;
  const KernelCache cache(folder.path());
  look_up(cache, "a");
  const fs::path file = files_in(folder.path()).front();
  const std::string whole = read_file(file);
  std::vector<std::string> damaged = {"", whole.substr(0, 64), whole.substr(0, whole.size() - 1), whole + "x"};
  for (const std::size_t at : {std::size_t{0}, std::size_t{63}, std::size_t{64}, whole.size() - 1}) {
    damaged.push_back(whole);
    damaged.back()[at] ^= 1;
  }
  for (const std::string& content : damaged) {
    std::ofstream(file, std::ios::trunc | std::ios::binary) << content;
    const Found found = look_up(cache, "a");
    CHECK(found.is_compiled);
    CHECK(found.code == code_of("a"));
    CHECK(read_file(file) == whole);
  }
}

TEST_CASE("a compiled kernel that another user could have put there is not used") {
  const TemporaryFolder folder;
  const KernelCache cache(folder.path());
  look_up(cache, "a");
  const fs::path file = files_in(folder.path()).front();
  REQUIRE(::chmod(file.c_str(), 0666) == 0);
  CHECK(look_up(cache, "a").is_compiled);
  CHECK_FALSE(look_up(cache, "a").is_compiled);  // the file that replaced it is ours alone
}

TEST_CASE("without a folder, or where nothing can be written or read, kernels are compiled") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file";
  std::ofstream(file) << "not a folder";
  for (const std::optional<fs::path>& nowhere : {std::optional<fs::path>(), std::optional(file / "kernels")}) {
    for (int i = 0; i < 2; ++i) {
      const Found found = look_up(KernelCache(nowhere), "a");
      CHECK(found.is_compiled);
      CHECK(found.code == code_of("a"));
    }
  }
  const KernelCache cache(folder.path() / "kernels");
  look_up(cache, "a");
  const fs::path kernel = files_in(folder.path() / "kernels").front();
  fs::remove(kernel);
  REQUIRE(::mkfifo(kernel.c_str(), 0600) == 0);  // reading it would wait for ever
  CHECK(look_up(cache, "a").code == code_of("a"));
}

TEST_CASE("compiled kernels that were not used for the longest time are removed first when they take too much space") {
  const TemporaryFolder folder;
  const KernelCache cache(folder.path(), 3 * (64 + code_of("a").size()));
  const auto now = fs::file_time_type::clock::now();
  int age = 10;
  for (const std::string name : {"a", "b", "c"}) {
    const std::vector<fs::path> before = files_in(folder.path());
    look_up(cache, name);
    for (const fs::path& file : files_in(folder.path())) {
      const bool is_new = std::find(before.begin(), before.end(), file) == before.end();
      if (is_new) fs::last_write_time(file, now - std::chrono::hours(age--));
    }
  }
  CHECK_FALSE(look_up(cache, "a").is_compiled);  // so b is now the oldest
  look_up(cache, "d");
  CHECK(files_in(folder.path()).size() == 3);
  for (const std::string name : {"a", "c", "d"}) CHECK_FALSE(look_up(cache, name).is_compiled);
  CHECK(look_up(cache, "b").is_compiled);
}

TEST_CASE("processes that compile the same kernels at once all get their code, and leave no other files") {
  const TemporaryFolder folder;
  std::vector<pid_t> children;
  for (int process = 0; process < 4; ++process) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    const KernelCache cache(folder.path());
    bool is_good = true;
    for (int i = 0; i < 30; ++i) {
      const std::string origin = std::to_string(i % 10);
      is_good = is_good && look_up(cache, origin).code == code_of(origin);
    }
    ::_exit(is_good ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(files_in(folder.path()).size() == 10);
  for (int i = 0; i < 10; ++i) CHECK_FALSE(look_up(KernelCache(folder.path()), std::to_string(i)).is_compiled);
}
