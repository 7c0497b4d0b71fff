#pragma once

#include <sys/types.h>

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace casdm::testing {

/// A process of `casdm` that has loaded LibTorch, for 0.25 s of processor time, and forks one for each command: see
/// tests/faults/warm.cpp.
class WarmProgram {
 public:
  /// @param preloaded  the library of tests/faults
  WarmProgram(const std::filesystem::path& program, const std::filesystem::path& preloaded);
  /// Ends the process.
  ~WarmProgram();
  WarmProgram(const WarmProgram&) = delete;
  WarmProgram& operator=(const WarmProgram&) = delete;

  /// Runs a command line of words, `casdm` among them, in `folder` with its output in files, and returns the wait
  /// status. Nothing: it cannot be run so, since the command does not load LibTorch, has options of any command, the
  /// environment of this process has changed, or another thread has a command running.
  std::optional<int> run(std::vector<std::string> words, const std::filesystem::path& folder,
                         const std::filesystem::path& out, const std::filesystem::path& err);

 private:
  void start();
  std::string line();

  const std::filesystem::path program_, preloaded_;
  std::mutex mutex_;
  std::vector<std::string> environment_;
  pid_t owner_ = -1, process_ = -1;
  int socket_ = -1;
};

/// The words of a command line that a shell would only split, and take out of quotes; none: it has more to it.
std::vector<std::string> plain_words(const std::string& command_line);

}  // namespace casdm::testing
