#include "framework/loading/child_process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <thread>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::size_t kMostOutput = 2000;

/// The first byte of the message says that the work returned; the second is its return value.
constexpr char kReturned = 'r';

/// A file in memory, shared by parent and child.
class Capture {
 public:
  explicit Capture(const char* name) : descriptor_(memfd_create(name, 0)) {
    if (descriptor_ < 0) throw Error(text("no file in memory: ", std::strerror(errno)));
  }
  ~Capture() { ::close(descriptor_); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  int descriptor() const { return descriptor_; }

  std::string content(std::size_t most) const {
    const off_t size = ::lseek(descriptor_, 0, SEEK_END);
    const off_t start = std::max<off_t>(0, size - static_cast<off_t>(most));
    std::string result(static_cast<std::size_t>(size - start), '\0');
    const ssize_t got = ::pread(descriptor_, result.data(), result.size(), start);
    result.resize(static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    return result;
  }

 private:
  int descriptor_;
};

[[noreturn]] void run_here(const std::function<int(std::string&)>& work, const Capture& message, const Capture& out,
                           const Capture& err, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // the parent died before prctl
  ::setpgid(0, 0);
  ::dup2(out.descriptor(), STDOUT_FILENO);
  ::dup2(err.descriptor(), STDERR_FILENO);
  // Handlers of this process would act on its files and folders; a crash must end the child with the default action.
  for (const int number : {SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::signal(number, SIG_DFL);
  std::string reply;
  const int status = work(reply);
  std::cout.flush();
  std::fflush(nullptr);
  reply.insert(0, {kReturned, static_cast<char>(status)});
  const bool is_written =
      ::write(message.descriptor(), reply.data(), reply.size()) == static_cast<ssize_t>(reply.size());
  ::_exit(is_written ? 0 : 1);
}

/// Waits for the child; kills its process group when the time is up. Returns whether it ended by itself.
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

void judge(ChildResult& result, bool has_ended, int status, double timeout) {
  using End = ChildResult::End;
  if (!has_ended) {
    result.end = End::timed_out;
    result.description = text("did not end within ", timeout, " s");
    return;
  }
  if (!result.message.empty() && result.message.front() == kReturned) {
    result.status = static_cast<unsigned char>(result.message[1]);
    result.message.erase(0, 2);
    return;
  }
  result.end = End::died;
  if (WIFSIGNALED(status)) {
    result.signal = WTERMSIG(status);
    result.description = text("was killed by signal ", result.signal, " (", strsignal(result.signal), ")");
  } else {
    result.description = text("ended the process with status ", WEXITSTATUS(status));
  }
}

}  // namespace

ChildResult run_in_child_process(const std::function<int(std::string& message)>& work, double timeout) {
  const Capture message("message");
  const Capture out("stdout");
  const Capture err("stderr");
  const auto start = std::chrono::steady_clock::now();
  std::cout.flush();
  std::fflush(nullptr);  // otherwise the child would also write what this process has buffered
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw Error(text("cannot start a child process: ", std::strerror(errno)));
  if (child == 0) run_here(work, message, out, err, parent);
  ::setpgid(child, child);
  int status = 0;
  const bool has_ended = wait_for(child, timeout, status);
  ChildResult result;
  result.message = message.content(1 << 20);
  result.out = out.content(kMostOutput);
  result.err = err.content(kMostOutput);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  judge(result, has_ended, status, timeout);
  return result;
}

}  // namespace casdm
