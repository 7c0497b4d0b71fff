#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace casdm {

/// This program.
std::filesystem::path own_program();

/// Another process of a program, whose memory and fate are its own. It is asked to end (SIGTERM) when this process dies
/// and when the object is destroyed, which waits for it. Signals of the terminal reach this process alone.
class ChildProgram {
 public:
  /// Starts it. What it writes, to stdout and stderr, goes to the end of `log` and, in its last part, into `output()`:
  /// a full disk costs the log alone.
  /// @param command  the program and its arguments
  /// @param environment  variables set beside those of this process
  /// Throws Error when it cannot be started.
  ChildProgram(const std::vector<std::string>& command, const std::filesystem::path& log,
               const std::map<std::string, std::string>& environment = {});
  ~ChildProgram();
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  /// Takes over what it has written; whether it has ended. Never waits.
  bool has_ended();

  /// Asks for an orderly end. Does nothing once it has ended.
  void ask_to_end() const;

  /// Ends it at once.
  void kill() const;

  /// Its exit status, once it has ended; -1 when a signal ended it.
  int status() const { return status_; }

  /// Why it failed: its last message ("casdm: ..."), or how it was ended; empty when its status is 0.
  std::string problem() const;

  /// Its last message, "casdm: ..." without these words; empty: there was none.
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
