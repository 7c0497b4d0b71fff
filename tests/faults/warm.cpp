// Starting LibTorch takes half a second, a trial a tenth. With CASDM_WARM=DESCRIPTOR the program stops before it would
// call its command, with LibTorch loaded, and forks a process for each request on that socket. That process continues
// as the program itself would. A request is a 4-byte length and strings that end in NUL:
//   working folder, stdout, stderr, fault plan, environment (NAME=VALUE lines), command, argument...
// Answers are lines: the process's id when it starts; its wait status, peak memory in KiB and seconds of processor time
// when it has ended.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <vector>

#include "plan.h"

namespace {

using Command = int(const std::vector<std::string>&);
using RunCommand = int(Command*, const std::vector<std::string>&);

void* framework = nullptr;

void* real_dlsym(void* library, const char* name) {
  static const auto real = [] {
    void* found = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (found == nullptr) found = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    return reinterpret_cast<void* (*)(void*, const char*)>(found);
  }();
  return real(library, name);
}

int connection() {
  const char* given = getenv("CASDM_WARM");
  return given != nullptr ? atoi(given) : -1;
}

bool receive(int from, char* data, size_t size) {
  while (size > 0) {
    const ssize_t got = read(from, data, size);
    if (got <= 0) return false;
    data += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool receive(int from, std::vector<std::string>& request) {
  unsigned size = 0;
  if (!receive(from, reinterpret_cast<char*>(&size), sizeof(size))) return false;
  std::string bytes(size, '\0');
  if (!receive(from, bytes.data(), size)) return false;
  request.clear();
  for (size_t start = 0, end; (end = bytes.find('\0', start)) != std::string::npos; start = end + 1) {
    request.push_back(bytes.substr(start, end - start));
  }
  return request.size() >= 6;
}

void redirect(const std::string& path, int to) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || dup2(file, to) < 0) _exit(125);
  close(file);
}

/// In the new process: becomes the program that was requested.
int go_on(const std::vector<std::string>& request) {
  close(connection());
  unsetenv("CASDM_WARM");
  unsetenv("LD_PRELOAD");
  if (chdir(request[0].c_str()) != 0) _exit(125);
  redirect(request[1], STDOUT_FILENO);
  redirect(request[2], STDERR_FILENO);
  std::istringstream variables(request[4]);
  for (std::string line; std::getline(variables, line);) {
    const size_t equals = line.find('=');
    setenv(line.substr(0, equals).c_str(), line.substr(equals + 1).c_str(), 1);
  }
  auto* run = reinterpret_cast<RunCommand*>(real_dlsym(framework, "casdm_run_command"));
  auto* command = reinterpret_cast<Command*>(real_dlsym(framework, ("casdm_" + request[5] + "_command").c_str()));
  if (run == nullptr || command == nullptr) _exit(125);
  set_fault_plan(request[3]);
  return run(command, {request.begin() + 6, request.end()});
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

int serve(Command*, const std::vector<std::string>&) {
  const int socket = connection();
  std::vector<std::string> request;
  dprintf(socket, "ready\n");
  while (receive(socket, request)) {
    const pid_t child = fork();
    if (child == 0) return go_on(request);
    dprintf(socket, "%d\n", child);
    int status = 0;
    rusage usage{};
    while (wait4(child, &status, 0, &usage) < 0) {
    }
    dprintf(socket, "%d %ld %f\n", status, usage.ru_maxrss, seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }
  _exit(0);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void* dlsym(void* library, const char* name) {
  const std::string wanted = name;
  if (connection() >= 0 && wanted == "casdm_run_command") {
    framework = library;
    return reinterpret_cast<void*>(&serve);
  }
  return real_dlsym(library, name);
}
