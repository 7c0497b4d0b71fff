#include "casdm/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "casdm/error.h"
#include "support/components.h"

using namespace casdm;
using casdm::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Runs `action` in a process that is killed at its end.
template <class Action>
void in_killed_process(const Action& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    action();
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
}

}  // namespace

TEST_CASE("a private file stays private when it is replaced, and none becomes writable by others") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  for (const auto& [before, after] : {std::pair{0600, 0600}, std::pair{0666, 0644}, std::pair{0444, 0644}}) {
    put(path, "old");
    fs::permissions(path, fs::perms(before));
    AtomicFile file(path);
    CHECK(fs::status(file.temporary()).permissions() == fs::perms(after));
    file.write("new");
    file.commit();
    CHECK(fs::status(path).permissions() == fs::perms(after));
    fs::remove(path);
  }
}

TEST_CASE("a file is replaced at commit and not before, and without commit nothing is left") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  put(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    CHECK(content(path) == "old");
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"a"});
  {
    AtomicFile file(path);
    file.write("ne");
    file.write("w");
    file.commit();
    CHECK(content(path) == "new");
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"a"});
}

TEST_CASE("a file that cannot be written is an error with path and reason, and leaves the old one") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  put(path, "old");
  CHECK_THROWS_WITH_AS(AtomicFile(folder.path() / "none" / "a"), doctest::Contains("No such file or directory"), Error);
  CHECK_THROWS_WITH_AS(AtomicFile(folder.path() / std::string(300, 'x')), doctest::Contains("File name too long"),
                       Error);
  CHECK_THROWS_WITH_AS(AtomicFile(folder.path()), doctest::Contains("is not a regular file"), Error);
  CHECK_THROWS_WITH_AS(AtomicFile("/dev/null"), doctest::Contains("/dev/null cannot be written: it is not a regular"),
                       Error);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{1000, old.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  {
    AtomicFile file(path);
    CHECK_THROWS_WITH_AS(file.write(std::string(4096, 'x')), doctest::Contains("a cannot be written: File too large"),
                         Error);
  }
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(content(path) == "old");
  CHECK(names_in(folder.path()) == std::vector<std::string>{"a"});
}

TEST_CASE("a link at the target is replaced, and its target is left alone") {
  const TemporaryFolder folder;
  put(folder.path() / "other", "theirs");
  fs::create_symlink("other", folder.path() / "link");
  AtomicFile file(folder.path() / "link");
  file.write("ours");
  file.commit();
  CHECK_FALSE(fs::is_symlink(folder.path() / "link"));
  CHECK(content(folder.path() / "link") == "ours");
  CHECK(content(folder.path() / "other") == "theirs");
  fs::create_symlink("/dev/null", folder.path() / "device");
  CHECK_THROWS_AS(AtomicFile(folder.path() / "device"), Error);
}

TEST_CASE("temporary names are unique, and contain the process id") {
  const fs::path one = temporary_beside("x/a"), two = temporary_beside("x/a");
  CHECK(one != two);
  CHECK(one.parent_path() == "x");
  CHECK(one.filename().string().starts_with(".tmp-" + std::to_string(::getpid()) + "-"));
}

TEST_CASE("a folder appears complete, and replaces an empty one but nothing else") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  {
    const AtomicFolder unused(path);
    put(unused.temporary() / "x", "1");
  }
  CHECK(names_in(folder.path()).empty());
  fs::create_directory(path);
  AtomicFolder made(path);
  put(made.temporary() / "x", "1");
  made.commit();
  CHECK(names_in(path) == std::vector<std::string>{"x"});
  {
    AtomicFolder second(path);
    put(second.temporary() / "y", "2");
    CHECK_THROWS_AS(second.commit(), NameTaken);
  }
  CHECK(names_in(path) == std::vector<std::string>{"x"});
  put(folder.path() / "file", "");
  {
    AtomicFolder third(folder.path() / "file");
    CHECK_THROWS_AS(third.commit(), NameTaken);
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"a", "file"});
}

TEST_CASE("leftovers of a killed process are removed, files that a living one is writing are not") {
  const TemporaryFolder folder;
  in_killed_process([&] {
    static AtomicFile file(folder.path() / "a");
    file.write("half");
    static AtomicFolder made(folder.path() / "b");
    put(made.temporary() / "x", "1");
  });
  REQUIRE(names_in(folder.path()).size() == 2);
  AtomicFile living(folder.path() / "c");
  const AtomicFolder living_folder(folder.path() / "d");
  put(folder.path() / ".tmp-notes", "mine");
  put(folder.path() / ".tmp-12-0123456789abcdeg", "mine");
  put(folder.path() / "keep", "mine");
  fs::create_symlink("keep", folder.path() / ".tmp-12-0123456789abcdef");
  remove_leftovers(folder.path());
  CHECK(names_in(folder.path()).size() == 6);
  CHECK(content(folder.path() / "keep") == "mine");
  living.commit();
  CHECK(fs::exists(folder.path() / "c"));
  remove_leftovers(folder.path() / "none");
}
