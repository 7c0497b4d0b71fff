#include "framework/training/run_folder.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

Value resolved(const std::string& directory, const std::string& name) {
  return Value::Table{{"run", Value::Table{{"name", name}, {"directory", directory}}}};
}

Value line(int images) { return Value::Table{{"images", images}}; }

/// The exit status of a process that runs `action`: 0, or 1 if it throws.
template <class Action>
pid_t started(const Action& action) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  try {
    action();
  } catch (const std::exception&) {
    ::_exit(1);
  }
  ::_exit(0);
}

int status_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a run folder that contains anything is refused and stays unchanged") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "runs" / "a";
  RunFolder::create(path, resolved("runs", "first"));
  const std::string config = read_file(path / "config.toml");
  CHECK_THROWS_WITH_AS(RunFolder::create(path, Value::Table{}), doctest::Contains("casdm train --resume"), ConfigError);
  CHECK(read_file(path / "config.toml") == config);
  for (const char* inside : {"notes.txt", "checkpoints/000000000016/weights.safetensors", "samples"}) {
    const fs::path other = folder.path() / "runs" / "b";
    fs::create_directories((other / inside).parent_path());
    std::ofstream(other / inside) << "mine";
    CHECK_THROWS_WITH_AS(RunFolder::create(other, Value::Table{}), doctest::Contains("is not a run folder; choose"),
                         ConfigError);
    CHECK(read_file(other / inside) == "mine");
    fs::remove_all(other);
  }
  std::ofstream(folder.path() / "file") << "mine";
  CHECK_THROWS_AS(RunFolder::create(folder.path() / "file", Value::Table{}), ConfigError);
  CHECK_THROWS_AS(RunFolder::create(folder.path() / "file" / "a", Value::Table{}), Error);
  CHECK(names_in(folder.path() / "runs") == std::vector<std::string>{"a"});
}

TEST_CASE("an empty folder, and one left by a killed start of version 0.1, are reused") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  fs::create_directory(path);
  RunFolder::create(path, Value::Table{});
  CHECK(fs::exists(path / "config.toml"));
  fs::remove_all(path);
  fs::create_directories(path / "checkpoints");
  fs::create_directories(path / "samples");
  RunFolder::create(path, Value::Table{});
  CHECK(fs::exists(path / "config.toml"));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"a"});
}

TEST_CASE("if many processes create one run, only one succeeds, and the folder is entirely its own") {
  const TemporaryFolder folder;
  for (int round = 0; round < 10; ++round) {
    const fs::path path = folder.path() / text("runs-", round) / "a";
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(started([&] {
        const RunFolder run = RunFolder::create(path, resolved("runs", text("n", i)));
        run.append(line(i));
      }));
    }
    std::vector<int> winners;
    for (int i = 0; i < 4; ++i) {
      if (status_of(children[static_cast<std::size_t>(i)]) == 0) winners.push_back(i);
    }
    REQUIRE(winners.size() == 1);
    CHECK(read_file(path / "config.toml").find(text("\"n", winners[0], "\"")) != std::string::npos);
    CHECK(read_file(path / "metrics.jsonl") == to_json(line(winners[0])) + "\n");
    CHECK(names_in(path.parent_path()) == std::vector<std::string>{"a"});
  }
}

TEST_CASE("a run that fails before it records anything leaves nothing, and removes only what it made") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "x" / "runs" / "a";
  RunFolder::create(path, Value::Table{}).remove_if_unused();
  CHECK(names_in(folder.path()).empty());

  fs::create_directories(folder.path() / "x");
  RunFolder::create(path, Value::Table{}).remove_if_unused();
  CHECK(names_in(folder.path()) == std::vector<std::string>{"x"});
  CHECK(names_in(folder.path() / "x").empty());

  for (const char* inside : {"notes.txt", "samples/grid.png", "metrics.jsonl", "ema/x", "checkpoints/mine"}) {
    const RunFolder run = RunFolder::create(path, Value::Table{});
    fs::create_directories((path / inside).parent_path());
    std::ofstream(path / inside) << "mine";
    run.remove_if_unused();
    CHECK(read_file(path / inside) == "mine");
    CHECK(fs::exists(path / "config.toml"));
    fs::remove_all(path.parent_path());
  }
}

TEST_CASE("a second process in a run is refused and told which one holds it") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  {
    const RunFolder first = RunFolder::create(path, Value::Table{});
    RunFolder second = RunFolder::open(path);
    const std::string who = text("another process is training in ", path.string(), ": process ", ::getpid(), " on ");
    CHECK_THROWS_WITH_AS(second.lock(), doctest::Contains(who.c_str()), Error);
    CHECK_THROWS_WITH_AS(second.lock(), doctest::Contains(" UTC. Wait until it ends"), Error);
    // Anybody may have written the file.
    std::ofstream(path / ".lock") << "\x1b[2J" << std::string(5000, 'x');
    try {
      second.lock();
    } catch (const Error& error) {
      CHECK(std::string(error.what()).size() < 500);
      CHECK(std::string(error.what()).find('\x1b') == std::string::npos);
    }
  }
  RunFolder third = RunFolder::open(path);
  CHECK_NOTHROW(third.lock());
  CHECK_NOTHROW(third.lock());
}

TEST_CASE("a folder with only the user's own config.toml is not a run, and owns no checkpoint") {
  const TemporaryFolder folder;
  const fs::path mine = folder.path() / "mine", run = folder.path() / "run";
  RunFolder::create(run, Value::Table{});
  for (const fs::path& checkpoint : {run / "checkpoints/000000000064", mine / "keep/copy", run / "checkpoints/copy"}) {
    fs::create_directories(checkpoint);
    std::ofstream(checkpoint / "state.json") << "{}";
  }
  std::ofstream(mine / "config.toml") << "# my own\n";
  std::ofstream(mine / "metrics.jsonl") << "a note\n";
  CHECK_FALSE(is_run_folder(mine));
  CHECK(is_run_folder(run));
  CHECK_THROWS_WITH_AS(RunFolder::open(mine), doctest::Contains("but no training made it. To train that: casdm train "),
                       ConfigError);
  CHECK_THROWS_WITH_AS(RunFolder::create(mine, Value::Table{}), doctest::Contains("is not a run folder; choose"),
                       ConfigError);
  CHECK(run_of_checkpoint(mine / "keep/copy").empty());
  CHECK(run_of_checkpoint(run / "checkpoints/copy/") == run);
  fs::create_directory_symlink(run / "checkpoints/copy", mine / "link");
  CHECK(run_of_checkpoint(mine / "link") == fs::canonical(run));
  CHECK(read_file(mine / "config.toml") == "# my own\n");
}

TEST_CASE("what killed processes left half-written in a run is removed when it is trained again") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  RunFolder::create(path, Value::Table{});
  fs::create_directory(path / "ema");
  for (const fs::path& inner : {path, path / "checkpoints", path / "samples", path / "ema"}) {
    std::ofstream(temporary_beside(inner / "x")) << "half";
    fs::create_directory(temporary_beside(inner / "x"));
    std::ofstream(inner / ".tmp-mine") << "mine";
  }
  RunFolder::open(path).lock();
  CHECK(names_in(path) ==
        std::vector<std::string>{".lock", ".tmp-mine", "checkpoints", "config.toml", "ema", "samples"});
  for (const char* inner : {"checkpoints", "samples", "ema"}) {
    CHECK(names_in(path / inner) == std::vector<std::string>{".tmp-mine"});
  }
}

TEST_CASE("a line of the log is complete or absent") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder.path() / "a", Value::Table{});
  CHECK_NOTHROW(run.sync());
  run.append(line(8));
  // A process was killed while writing; the incomplete line may be longer than a block that is read at once.
  for (const std::size_t size : {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{10000}}) {
    std::ofstream(run.log(), std::ios::app) << std::string(size, '{');
    run.append(line(16));
  }
  CHECK(read_file(run.log()) == "{\"images\":8}\n{\"images\":16}\n{\"images\":16}\n{\"images\":16}\n{\"images\":16}\n");
  CHECK_NOTHROW(run.sync());

  // A full disk.
  const std::string before = read_file(run.log());
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{before.size() + 5, old.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK_THROWS_WITH_AS(run.append(line(24)), doctest::Contains("metrics.jsonl cannot be written: File too large"),
                       Error);
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(read_file(run.log()) == before);

  // A link is not followed.
  fs::rename(run.log(), folder.path() / "elsewhere");
  fs::create_symlink(folder.path() / "elsewhere", run.log());
  CHECK_THROWS_AS(run.append(line(24)), Error);
  CHECK(read_file(folder.path() / "elsewhere") == before);
}

TEST_CASE("a training writes nothing into a run that has taken the name of its own") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a", moved = folder.path() / "b";
  const RunFolder run = RunFolder::create(path, Value::Table{});
  run.append(line(8));
  fs::rename(path, moved);
  const std::string where = text("was moved to \"", moved.string(), "\"");
  CHECK_THROWS_WITH_AS(run.append(line(16)), doctest::Contains(where.c_str()), Error);
  const RunFolder other = RunFolder::create(path, Value::Table{});
  CHECK_THROWS_WITH_AS(run.append(line(16)), doctest::Contains(where.c_str()), Error);
  CHECK_THROWS_WITH_AS(run.sync(), doctest::Contains(where.c_str()), Error);
  CHECK_FALSE(fs::exists(other.log()));
  CHECK(read_file(moved / "metrics.jsonl") == to_json(line(8)) + "\n");
  fs::remove_all(moved);
  CHECK_THROWS_WITH_AS(run.append(line(16)), doctest::Contains("was removed while it was being trained"), Error);
  CHECK_NOTHROW(other.append(line(8)));
}

TEST_CASE("a copy of a run that is made of hard links stays as it is") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a", copy = folder.path() / "b";
  RunFolder::create(path, Value::Table{}).append(line(8));
  fs::create_directory(copy);
  for (const char* name : {"config.toml", "metrics.jsonl", ".lock"}) fs::create_hard_link(path / name, copy / name);
  const std::string before = read_file(copy / ".lock");
  {
    RunFolder run = RunFolder::open(path);
    run.lock();
    run.append(line(16));
    CHECK(read_file(copy / "metrics.jsonl") == to_json(line(8)) + "\n");
    CHECK(read_file(path / "metrics.jsonl") == to_json(line(8)) + "\n" + to_json(line(16)) + "\n");
    CHECK_NOTHROW(RunFolder::open(copy).lock());
    CHECK_THROWS_WITH_AS(RunFolder::open(path).lock(), doctest::Contains("another process is training in"), Error);
  }
  CHECK_NOTHROW(RunFolder::open(path).lock());
}
