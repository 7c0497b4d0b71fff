#include "framework/distributed/process_team.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// Ports chosen for teams whose first process may not listen yet.
std::set<int> taken;

int unused_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const bool is_found =
      descriptor >= 0 && ::bind(descriptor, generic, size) == 0 && ::getsockname(descriptor, generic, &size) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!is_found) throw Error(text("no port for processes to meet at can be found: ", std::strerror(reason)));
  return ntohs(address.sin_port);
}

}  // namespace

int free_port() {
  int port = unused_port();
  while (taken.contains(port)) port = unused_port();
  return port;
}

ProcessTeam::ProcessTeam(std::int64_t size, const std::vector<std::string>& command, const std::filesystem::path& log,
                         std::map<std::string, std::string> environment) {
  if (size > 1) {
    environment["WORLD_SIZE"] = environment["LOCAL_WORLD_SIZE"] = std::to_string(size);
    environment["MASTER_ADDR"] = "127.0.0.1";
    port_ = free_port();
    taken.insert(port_);
    environment["MASTER_PORT"] = std::to_string(port_);
  }
  for (std::int64_t rank = 0; rank < size; ++rank) {
    if (size > 1) environment["RANK"] = environment["LOCAL_RANK"] = std::to_string(rank);
    programs_.push_back(std::make_unique<ChildProgram>(command, log, environment));
  }
}

ProcessTeam::~ProcessTeam() {
  programs_.clear();
  taken.erase(port_);
}

bool ProcessTeam::has_ended() {
  return std::count_if(programs_.begin(), programs_.end(), [](const auto& one) { return one->has_ended(); }) ==
         static_cast<std::ptrdiff_t>(programs_.size());
}

void ProcessTeam::ask_to_end() const {
  for (const auto& one : programs_) one->ask_to_end();
}

void ProcessTeam::kill() const {
  for (const auto& one : programs_) one->kill();
}

bool ProcessTeam::was_stopped() const {
  return std::any_of(programs_.begin(), programs_.end(), [](const auto& one) { return one->was_stopped(); });
}

std::string ProcessTeam::problem() const {
  std::string found;
  for (const auto& one : programs_) {
    const std::string problem = one->problem();
    if (problem.empty()) continue;
    if (const std::string said = one->message(); !said.empty()) return said;
    if (found.empty()) found = problem;
  }
  return found;
}

}  // namespace casdm
