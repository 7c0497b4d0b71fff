#include "framework/conformance/runner.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "casdm/text.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

namespace {

constexpr int kPassed = 0;
constexpr int kFailed = 10;
constexpr int kSkipped = 11;
constexpr std::size_t kMostOutput = 2000;

/// A file in memory that parent and child share.
class Capture {
 public:
  explicit Capture(const char* name) : descriptor_(memfd_create(name, 0)) {}
  ~Capture() { ::close(descriptor_); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  int descriptor() const { return descriptor_; }

  /// The end of what was written.
  std::string text() const {
    const off_t size = ::lseek(descriptor_, 0, SEEK_END);
    const off_t start = std::max<off_t>(0, size - static_cast<off_t>(kMostOutput));
    std::string content(static_cast<std::size_t>(size - start), '\0');
    const ssize_t got = ::pread(descriptor_, content.data(), content.size(), start);
    content.resize(static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    return content;
  }

 private:
  int descriptor_;
};

/// In the child: the one test. Returns the exit status; the message goes to `message`.
int run_here(const FoundPlugin& plugin, const PluginCatalog& catalog, const ComponentEntry& entry, const Test& test,
             const RunOptions& options, int message) {
  int status = kPassed;
  std::string words;
  try {
    const PluginHost host(catalog);
    test.run(Subject(host, plugin, entry, options.overrides, options.seed));
  } catch (const Skip& skip) {
    status = kSkipped;
    words = skip.what();
  } catch (const std::exception& error) {
    status = kFailed;
    words = error.what();
  } catch (...) {
    status = kFailed;
    words = "it threw something that is no std::exception";
  }
  if (::write(message, words.data(), words.size()) < 0) return kFailed;
  return status;
}

std::string exit_words(int status) {
  if (WIFSIGNALED(status)) return text("killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
  return text("the process ended by itself with status ", WEXITSTATUS(status));
}

/// Waits for the child; kills its process group when time is up. Returns whether it ended by itself.
bool wait_for(pid_t child, double timeout, int& status) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout);
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      ::kill(-child, SIGKILL);
      ::waitpid(child, &status, 0);
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

Result run_apart(const FoundPlugin& plugin, const PluginCatalog& catalog, const ComponentEntry& entry, const Test& test,
                 const RunOptions& options) {
  const Capture message("message");
  const Capture out("stdout");
  const Capture err("stderr");
  const auto start = std::chrono::steady_clock::now();
  std::fflush(nullptr);  // else the child would write what this process has buffered
  const pid_t child = ::fork();
  if (child < 0) throw Error(text("no process for a test: ", std::strerror(errno)));
  if (child == 0) {
    ::setpgid(0, 0);
    ::dup2(out.descriptor(), STDOUT_FILENO);
    ::dup2(err.descriptor(), STDERR_FILENO);
    const int status = run_here(plugin, catalog, entry, test, options, message.descriptor());
    std::fflush(nullptr);
    ::_exit(status);
  }
  ::setpgid(child, child);
  int status = 0;
  const bool ended = wait_for(child, options.timeout, status);
  Result result{entry.name, entry.kind, std::string(test.name), "passed", message.text(), 0};
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string printed = out.text();
  if (!ended) {
    result.outcome = "timed out";
    result.message = text("it did not end within ", options.timeout, " s");
  } else if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) {
    result.outcome = "skipped";
  } else if (WIFEXITED(status) && WEXITSTATUS(status) == kFailed) {
    result.outcome = "failed";
  } else if (!WIFEXITED(status) || WEXITSTATUS(status) != kPassed) {
    result.outcome = "crashed";
    const std::string last_words = err.text();
    result.message = exit_words(status) + (last_words.empty() ? "" : "; its last words:\n" + last_words);
  } else if (!printed.empty()) {
    result.outcome = "failed";
    result.message = "it writes to stdout, which belongs to the command's results: \"" + printed.substr(0, 80) + "\"";
  }
  return result;
}

}  // namespace

std::vector<Result> run(const RunOptions& options, void (*on_result)(const Result&)) {
  const PluginCatalog catalog = PluginCatalog::of_library(options.library);
  const FoundPlugin& plugin = catalog.plugins().front();
  if (!plugin.problem.empty()) throw PluginError(text(plugin.path.string(), " ", plugin.problem));
  std::vector<Result> results;
  for (const ComponentEntry& entry : plugin.description.components) {
    for (const Test& test : tests()) {
      if (!test.kind.empty() && test.kind != entry.kind) continue;
      if (test.is_strict && !options.is_strict) continue;
      if (text(entry.name, "/", test.name).find(options.filter) == std::string::npos) continue;
      results.push_back(run_apart(plugin, catalog, entry, test, options));
      if (on_result != nullptr) on_result(results.back());
    }
  }
  return results;
}

}  // namespace casdm::conformance
