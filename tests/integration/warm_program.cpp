#include "integration/warm_program.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace casdm::testing {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  return variables;
}

bool is_warm(const std::vector<std::string>& arguments) {
  static const std::vector<std::string> commands = {"train", "sample", "evaluate", "import", "export", "ema", "data"};
  const auto is_for_any_command = [](const std::string& argument) {
    return argument == "--safe-mode" || argument == "--trust-plugins" || argument.starts_with("--progress");
  };
  return !arguments.empty() && std::find(commands.begin(), commands.end(), arguments[0]) != commands.end() &&
         std::none_of(arguments.begin(), arguments.end(), is_for_any_command);
}

/// As the shell's NAME=VALUE, of a variable that is read when a command runs, not when LibTorch is loaded.
bool is_assignment(const std::string& word) {
  return word.starts_with("CASDM_") && word.find('=') != std::string::npos;
}

}  // namespace

WarmProgram::WarmProgram(const fs::path& program, const fs::path& preloaded)
    : program_(program), preloaded_(preloaded) {}

WarmProgram::~WarmProgram() {
  if (socket_ < 0) return;
  ::close(socket_);
  if (owner_ == ::getpid()) ::waitpid(process_, nullptr, 0);
}

void WarmProgram::start() {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) throw std::runtime_error("socketpair failed");
  environment_ = environment();
  owner_ = ::getpid();
  process_ = ::fork();
  if (process_ == 0) {
    ::fcntl(sockets[1], F_SETFD, 0);
    ::setenv("CASDM_WARM", std::to_string(sockets[1]).c_str(), 1);
    ::setenv("LD_PRELOAD", preloaded_.c_str(), 1);
    const char* path = std::getenv("PATH");
    ::setenv("PATH", (program_.parent_path().string() + ":" + (path != nullptr ? path : "")).c_str(), 1);
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::execl(program_.c_str(), "casdm", "train", "-", nullptr);
    ::_exit(127);
  }
  ::close(sockets[1]);
  socket_ = sockets[0];
  if (line() != "ready") throw std::runtime_error(program_.string() + " does not start under " + preloaded_.string());
}

std::string WarmProgram::line() {
  std::string result;
  for (char next = 0; ::read(socket_, &next, 1) == 1 && next != '\n';) result += next;
  return result;
}

std::optional<int> WarmProgram::run(std::vector<std::string> words, const fs::path& folder, const fs::path& out,
                                    const fs::path& err) {
  const auto program = std::find(words.begin(), words.end(), "casdm");
  if (program == words.end() || !std::all_of(words.begin(), program, &is_assignment)) return std::nullopt;
  std::string variables = "PWD=" + folder.string();
  for (auto variable = words.begin(); variable != program; ++variable) variables += "\n" + *variable;
  words.erase(words.begin(), program + 1);
  if (!is_warm(words)) return std::nullopt;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return std::nullopt;
  if (socket_ < 0) start();
  if (owner_ != ::getpid() || environment_ != environment()) return std::nullopt;
  std::vector<std::string> fields = {folder.string(), out.string(), err.string(), "", variables};
  fields.insert(fields.end(), words.begin(), words.end());
  std::string bytes;
  for (const std::string& field : fields) bytes.append(field).append(1, '\0');
  const unsigned size = static_cast<unsigned>(bytes.size());
  bytes.insert(0, reinterpret_cast<const char*>(&size), sizeof(size));
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t part = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (part < 0) throw std::runtime_error("the warm program has ended");
    sent += static_cast<std::size_t>(part);
  }
  line();  // the process's id
  return std::stoi(line());
}

std::vector<std::string> plain_words(const std::string& command_line) {
  constexpr std::string_view kMeansMore = "|&;<>(){}$`\\*?#~!\n\t";
  std::vector<std::string> words;
  bool is_word = false;
  for (std::size_t at = 0; at < command_line.size(); ++at) {
    const char next = command_line[at];
    if (next == ' ') {
      is_word = false;
      continue;
    }
    if (!is_word) words.emplace_back();
    is_word = true;
    if (next == '\'' || next == '"') {
      const std::size_t end = command_line.find(next, at + 1);
      if (end == std::string::npos) return {};
      const std::string quoted = command_line.substr(at + 1, end - at - 1);
      if (next == '"' && quoted.find_first_of("$`\\") != std::string::npos) return {};
      words.back() += quoted;
      at = end;
    } else if (kMeansMore.find(next) != std::string_view::npos) {
      return {};
    } else {
      words.back() += next;
    }
  }
  return words;
}

}  // namespace casdm::testing
