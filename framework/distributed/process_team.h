#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/support/child_program.h"

namespace casdm {

/// A port of this machine where nobody listens now, and no team of this process will. Throws Error when there is none.
int free_port();

/// The processes of one command on this machine that share its work, told who they are as by a launcher
/// (process_place.h); or a single one.
class ProcessTeam {
 public:
  /// Starts them; see ChildProgram. Throws Error when one cannot be started.
  /// @param size  at least 1
  ProcessTeam(std::int64_t size, const std::vector<std::string>& command, const std::filesystem::path& log,
              std::map<std::string, std::string> environment);

  ~ProcessTeam();
  ProcessTeam(const ProcessTeam&) = delete;
  ProcessTeam& operator=(const ProcessTeam&) = delete;

  /// Whether all have ended. Never waits.
  bool has_ended();

  /// Asks all for an orderly end.
  void ask_to_end() const;

  /// Ends all at once.
  void kill() const;

  /// Why they failed: what one of them says for all, else how one was ended; empty when they have succeeded.
  std::string problem() const;

 private:
  std::vector<std::unique_ptr<ChildProgram>> programs_;
  int port_ = 0;  ///< where several meet
};

}  // namespace casdm
