#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <thread>
#include <vector>

#include "casdm/log.h"

using namespace casdm;

namespace {

/// Collects lines while this object lives.
class Collected {
 public:
  Collected() : before_(set_log_sink([this](const LogLine& line) { lines.push_back(to_string(line)); })) {}
  ~Collected() { set_log_sink(std::move(before_)); }
  Collected(const Collected&) = delete;
  Collected& operator=(const Collected&) = delete;

  std::vector<std::string> lines;

 private:
  LogSink before_;
};

/// The output of `work` to the file descriptor of stderr.
template <class Work>
std::string written_to_stderr(const Work& work) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file), STDERR_FILENO);
  work();
  std::fflush(stderr);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::string result(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  result.resize(std::fread(result.data(), 1, result.size(), file));
  std::fclose(file);
  return result;
}

}  // namespace

TEST_CASE("a line names its component, and warnings are marked as such") {
  const Collected collected;
  const Log log("mine");
  log.info("3 taps, ", 0.5, " each");
  log.warning("too small");
  CHECK(collected.lines == std::vector<std::string>{"mine: 3 taps, 0.5 each", "warning: mine: too small"});
}

TEST_CASE("a message written once is written once per message and log") {
  const Collected collected;
  const Log log("mine");
  const Log copy = log;
  for (int i = 0; i < 3; ++i) {
    log.warning_once("size ", i % 2);
    copy.info_once("size 0");
  }
  CHECK(collected.lines == std::vector<std::string>{"warning: mine: size 0", "warning: mine: size 1"});
  Log("mine").info_once("size 0");
  CHECK(collected.lines.back() == "mine: size 0");
}

TEST_CASE("a message can neither control the terminal nor imitate another's line") {
  CHECK(to_string(LogLine{LogLevel::info, "mine\x1b[2J", "a\x1b[31mb\rc\nwarning: other: d\n\n"}) ==
        "mine\\x1b[2J: a\\x1b[31mb\\x0dc\n  warning: other: d");
}

TEST_CASE("lines of several threads stay intact") {
  const Collected collected;
  const Log log("mine");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&log] {
      for (int j = 0; j < 100; ++j) log.info("line");
      log.info_once("only one");
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(collected.lines.size() == 401);
}

TEST_CASE("without a host lines go to stderr") {
  CHECK(written_to_stderr([] { Log("mine").warning("alone"); }) == "warning: mine: alone\n");
}
