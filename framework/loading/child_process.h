#pragma once

#include <functional>
#include <string>

namespace casdm {

/// How a piece of work in its own process ended.
struct ChildResult {
  enum class End {
    returned,   ///< by itself, with `status`
    died,       ///< through `signal`, or by calling an exit function
    timed_out,  ///< it was killed because its time was up
  };
  End end = End::returned;
  int status = 0;       ///< the return value of the work
  int signal = 0;       ///< the signal that ended it; 0 if it called an exit function
  std::string message;  ///< set by the work
  std::string out;      ///< the end of its output to stdout and to stderr
  std::string err;
  double seconds = 0;

  /// "killed by signal 11 (Segmentation fault)", "did not end within 60 s"; empty if it returned.
  std::string description;
};

/// Runs `work` in a forked process, with its own memory and standard output, and waits at most `timeout` seconds. The
/// work's return value and message come back; it must not throw. In the child only the calling thread exists, so set
/// LibTorch's number of threads to 1 before computing. The child is killed if this process dies. Throws Error if no
/// process can be created.
ChildResult run_in_child_process(const std::function<int(std::string& message)>& work, double timeout);

}  // namespace casdm
