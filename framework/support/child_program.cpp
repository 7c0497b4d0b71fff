#include "framework/support/child_program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>
#include <thread>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/training/signals.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kKeptOutput = 16 << 10;
constexpr std::size_t kLongestProblem = 2000;
constexpr const char* kMessage = "casdm: ";

/// Replaces this process by the program, which ends with its parent. Uses only calls that are safe between fork and
/// exec.
[[noreturn]] void become(char* const* command, char* const* environment, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // the parent died before prctl
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE}) ::signal(number, SIG_DFL);
  ::execve(command[0], command, environment);
  constexpr std::string_view message = "casdm: the program cannot be started\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, message.data(), message.size());
  ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& arguments) {
  std::vector<char*> result;
  for (std::string& word : arguments) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& added) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string variable = *entry;
    if (!added.contains(variable.substr(0, variable.find('=')))) result.push_back(variable);
  }
  for (const auto& [name, value] : added) result.push_back(text(name, "=", value));
  return result;
}

}  // namespace

fs::path own_program() { return fs::read_symlink("/proc/self/exe"); }

int run_in_foreground(const std::vector<std::string>& command, bool has_results) {
  std::vector<std::string> arguments = command;
  const std::vector<char*> pointers_to_them = pointers(arguments);
  std::cout.flush();
  const pid_t parent = ::getpid(), process = ::fork();
  if (process < 0) throw Error(text("no process can be made: ", std::strerror(errno)));
  if (process == 0) {
    if (!has_results) ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
    become(pointers_to_them.data(), environ, parent);
  }
  int status = 0;
  for (bool has_asked = false; ::waitpid(process, &status, WNOHANG) != process;) {
    // Not SIGINT, which the terminal has sent to both, and which ends a program at once the second time.
    if (interrupted() && !std::exchange(has_asked, true)) ::kill(process, SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ChildProgram::ChildProgram(const std::vector<std::string>& command, const fs::path& log,
                           const std::map<std::string, std::string>& environment) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> variables = environment_with(environment);
  const std::vector<char*> argument_pointers = pointers(arguments);
  const std::vector<char*> variable_pointers = pointers(variables);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(text("no process can be made: ", std::strerror(errno)));
  pipe_ = ends[0];
  ::fcntl(pipe_, F_SETFL, O_NONBLOCK);
  log_ = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ == 0) {
    ::setpgid(0, 0);
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    become(argument_pointers.data(), variable_pointers.data(), parent);
  }
  const int reason = errno;
  ::close(ends[1]);
  if (process_ > 0) return;
  ::close(pipe_);
  if (log_ >= 0) ::close(log_);
  throw Error(text("no process can be made: ", std::strerror(reason)));
}

ChildProgram::~ChildProgram() {
  ask_to_end();
  while (!has_ended()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ::close(pipe_);
  if (log_ >= 0) ::close(log_);
}

void ChildProgram::take_output() {
  char buffer[4096];
  for (ssize_t got; (got = ::read(pipe_, buffer, sizeof(buffer))) > 0;) {
    const auto size = static_cast<std::size_t>(got);
    output_.append(buffer, size);
    if (output_.size() > 2 * kKeptOutput) output_.erase(0, output_.size() - kKeptOutput);
    if (log_ >= 0 && ::write(log_, buffer, size) < 0) {
      ::close(log_);
      log_ = -1;
    }
  }
}

bool ChildProgram::has_ended() {
  if (has_ended_) return true;
  int status = 0;
  const bool is_gone = ::waitpid(process_, &status, WNOHANG) != 0;
  take_output();
  if (!is_gone) return false;
  has_ended_ = true;
  if (WIFEXITED(status)) status_ = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) signal_ = WTERMSIG(status);
  return true;
}

void ChildProgram::ask_to_end() const {
  if (!has_ended_) ::kill(process_, SIGTERM);
}

void ChildProgram::kill() const {
  if (!has_ended_) ::kill(process_, SIGKILL);
}

std::string ChildProgram::message() const {
  std::size_t begin = output_.rfind(std::string("\n") + kMessage);
  begin = begin == std::string::npos ? (output_.starts_with(kMessage) ? 0 : begin) : begin + 1;
  if (begin == std::string::npos) return "";
  std::string message = output_.substr(begin + std::strlen(kMessage), kLongestProblem);
  message.erase(message.find_last_not_of(" \n") + 1);
  return printable(message);
}

bool ChildProgram::was_stopped() const {
  return signal_ == SIGTERM || signal_ == SIGINT || signal_ == SIGHUP || signal_ == SIGKILL;
}

std::string ChildProgram::problem() const {
  if (status_ == 0) return "";
  if (signal_ != 0) return text("was killed by signal ", signal_, " (", strsignal(signal_), ")");
  const std::string said = message();
  return said.empty() ? text("ended with status ", status_, " and without a message") : said;
}

}  // namespace casdm
