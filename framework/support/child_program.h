#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace casdm {

std::filesystem::path own_program();

/// Runs a program with this process's terminal, stdin, stdout and stderr, and waits for it. If only this process is
/// asked to end (`interrupted`), the request is passed on.
/// @param command      the path of the program, and its arguments
/// @param has_results  whether stdout holds results for the user; if not, it is discarded
/// Returns the exit status, or 128 plus the number of the signal that ended it. Throws Error if it cannot be started.
int run_in_foreground(const std::vector<std::string>& command, bool has_results);

/// A program in a child process. It is asked to end (SIGTERM) if this process dies and when the object is destroyed,
/// which waits for it. Signals of the terminal reach only this process.
class ChildProgram {
 public:
  /// Starts the program. Its output, to stdout and stderr, is appended to `log`, and the last part is available as
  /// `output()`: if the disk is full, only the log suffers.
  /// @param command      the program and its arguments
  /// @param environment  variables set in addition to those of this process
  /// Throws Error if it cannot be started.
  ChildProgram(const std::vector<std::string>& command, const std::filesystem::path& log,
               const std::map<std::string, std::string>& environment = {});
  ~ChildProgram();
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  /// Reads its new output; returns whether it has ended. Does not wait.
  bool has_ended();

  /// Asks the program to end in an orderly way. Does nothing once it has ended.
  void ask_to_end() const;

  void kill() const;

  /// Its exit status, once it has ended; -1 if a signal ended it.
  int status() const { return status_; }

  /// Why it failed: its last message ("casdm: ..."), or how it ended; empty if its status is 0.
  std::string problem() const;

  /// Whether a signal that asks or forces a program to end has ended it, as before it handles signals itself.
  bool was_stopped() const;

  /// Its last message, without the prefix "casdm: "; empty: there was none.
  std::string message() const;

  const std::string& output() const { return output_; }

 private:
  void take_output();

  pid_t process_ = -1;
  int pipe_ = -1;
  int log_ = -1;
  bool has_ended_ = false;
  int status_ = -1;
  int signal_ = 0;
  std::string output_;
};

}  // namespace casdm
