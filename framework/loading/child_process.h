#pragma once

#include <functional>
#include <string>

namespace casdm {

/// How a piece of work ended that ran in its own process.
struct ChildResult {
  enum class End {
    returned,   ///< by itself, with `status`
    died,       ///< by `signal`, or by ending the process itself
    timed_out,  ///< it was killed when its time was up
  };
  End end = End::returned;
  int status = 0;       ///< what the work returned
  int signal = 0;       ///< that killed it; 0 when it ended the process itself
  std::string message;  ///< what the work left in its argument
  std::string out;      ///< the end of what it wrote to stdout, and to stderr
  std::string err;
  double seconds = 0;

  /// "killed by signal 11 (Segmentation fault)", "did not end within 60 s"; empty when it returned.
  std::string description;
};

/// Runs `work` in a forked process, whose memory, standard output and fate are its own, and waits at most `timeout`
/// seconds. The work's return value and its message come back; exceptions must not leave it. Of the threads of this
/// process only the calling one exists there; it is killed when this one dies: set LibTorch's number of threads to 1
/// before computing. Throws Error when no process can be made.
ChildResult run_in_child_process(const std::function<int(std::string& message)>& work, double timeout);

}  // namespace casdm
