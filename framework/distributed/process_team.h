#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/support/child_program.h"

namespace casdm {

/// A port of this machine on which nobody listens and which no other team of this process uses. Throws Error if there
/// is none.
int free_port();

/// The processes on this machine that share the work of one command, with the environment that a launcher would give
/// them (process_place.h); or a single process.
class ProcessTeam {
 public:
  /// Starts the processes; see ChildProgram. Throws Error if one cannot be started.
  /// @param size  at least 1
  ProcessTeam(std::int64_t size, const std::vector<std::string>& command, const std::filesystem::path& log,
              std::map<std::string, std::string> environment);

  ~ProcessTeam();
  ProcessTeam(const ProcessTeam&) = delete;
  ProcessTeam& operator=(const ProcessTeam&) = delete;

  /// Whether all have ended. Does not wait.
  bool has_ended();

  /// Asks all of them to end in an orderly way.
  void ask_to_end() const;

  /// Kills all of them.
  void kill() const;

  /// Why they failed: the problem that one of them reports for all, else how one of them ended; empty if all succeeded.
  std::string problem() const;

  /// Whether one of the processes was stopped by a signal; see ChildProgram.
  bool was_stopped() const;

 private:
  std::vector<std::unique_ptr<ChildProgram>> programs_;
  int port_ = 0;  ///< on which several processes meet
};

}  // namespace casdm
