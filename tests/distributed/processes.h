#pragma once

#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/support/child_program.h"
#include "framework/support/files.h"

namespace casdm::testing {

using Environment = std::map<std::string, std::string>;

/// The environment that torchrun gives each of `size` processes on this machine, with a free port to meet at, and
/// `more`.
std::vector<Environment> environments(int size, const Environment& more = {});

/// Runs `casdm train`, or another command, in several processes, in `folder`. They end with the object.
class Processes {
 public:
  /// @param arguments  of each process; if there is only one element, for all of them
  /// @param prefixes   words before the program, for each process; may be empty
  Processes(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
            const std::vector<Environment>& environments, const std::vector<std::string>& prefixes = {},
            const std::string& command = "train");

  /// Sends a signal to one process.
  void signal(int rank, int number) const;

  /// Waits until a process has written `words`; false if that takes too long.
  bool wait_for(int rank, const std::string& words);

  /// Waits until all have ended; if that takes longer than `seconds`, kills them and fails the test.
  void wait(double seconds = 60);

  int status(int rank) const { return programs_.at(static_cast<std::size_t>(rank))->status(); }

  /// The output of all, one after another.
  std::string output() const;

  /// The lines of `output` that begin with "casdm: ": why they ended.
  std::vector<std::string> messages() const;

 private:
  std::filesystem::path folder_;
  std::vector<std::unique_ptr<ChildProgram>> programs_;
};

/// Writes small.toml: a training of a few seconds.
/// @param more  additional tables
void write_experiment(const std::filesystem::path& folder, const std::string& more = "");

}  // namespace casdm::testing
