#include "casdm/log.h"

#include <cstdio>
#include <mutex>
#include <set>
#include <utility>

namespace casdm {

namespace {

struct Output {
  std::mutex mutex;
  LogSink sink;
};

/// Never destroyed: a thread may still log while the process ends.
Output& output() {
  static auto& instance = *new Output;
  return instance;
}

void write_line(const LogLine& line) {
  Output& to = output();
  const std::lock_guard lock(to.mutex);
  if (to.sink) return to.sink(line);
  const std::string written = to_string(line) + '\n';
  std::fwrite(written.data(), 1, written.size(), stderr);
}

}  // namespace

struct Log::Seen {
  std::mutex mutex;
  std::set<std::string> messages;
};

std::string to_string(const LogLine& line) {
  std::string result = line.level == LogLevel::warning ? "warning: " : "";
  result += printable(line.component) + ": ";
  for (const char letter : printable(line.message.substr(0, line.message.find_last_not_of('\n') + 1))) {
    result += letter;
    if (letter == '\n') result += "  ";
  }
  return result;
}

Log::Log(std::string component) : component_(std::move(component)), seen_(std::make_shared<Seen>()) {}

void Log::write(LogLevel level, std::string message) const { write_line({level, component_, std::move(message)}); }

void Log::write_once(LogLevel level, std::string message) const {
  {
    const std::lock_guard lock(seen_->mutex);
    if (!seen_->messages.insert(message).second) return;
  }
  write(level, std::move(message));
}

LogSink set_log_sink(LogSink sink) {
  Output& to = output();
  const std::lock_guard lock(to.mutex);
  return std::exchange(to.sink, std::move(sink));
}

}  // namespace casdm
