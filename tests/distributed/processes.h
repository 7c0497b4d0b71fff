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

/// What torchrun tells each of `size` processes of this machine, with a free port to meet at.
std::vector<Environment> environments(int size);

/// `casdm train`, or another command, in processes of their own, in `folder`. They end with the object.
class Processes {
 public:
  /// @param arguments  of each process; one for all when there is one
  /// @param prefixes   words before the program of each; none: without
  Processes(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
            const std::vector<Environment>& environments, const std::vector<std::string>& prefixes = {},
            const std::string& command = "train");

  /// Sends a signal to one.
  void signal(int rank, int number) const;

  /// Waits until one has written `words`; false when that takes too long.
  bool wait_for(int rank, const std::string& words);

  /// Waits until all have ended; fails the test, and kills them, when that takes longer than `seconds`.
  void wait(double seconds = 60);

  int status(int rank) const { return programs_.at(static_cast<std::size_t>(rank))->status(); }

  /// What all have written, one after another.
  std::string output() const;

  /// The lines of `output` that begin with "casdm: ": what has ended them.
  std::vector<std::string> messages() const;

 private:
  std::filesystem::path folder_;
  std::vector<std::unique_ptr<ChildProgram>> programs_;
};

/// Writes small.toml: a training of seconds.
/// @param more  tables beside it
void write_experiment(const std::filesystem::path& folder, const std::string& more = "");

}  // namespace casdm::testing
