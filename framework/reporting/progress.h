#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "casdm/log.h"
#include "framework/support/number_format.h"

namespace casdm {

/// Progress of long work on stderr: on a terminal one line, redrawn, with a bar, the rate and the time left; elsewhere
/// a plain line now and then. While this object lives, messages that components log (casdm/log.h) appear above the bar.
/// Thread-safe.
class Progress {
 public:
  /// @param unit   what is counted: "images"
  /// @param first  how much was done before this process (in a resumed run); does not count for the rate
  Progress(std::string title, std::int64_t total, std::string unit, std::int64_t first = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `note` follows the rate: a loss, a name.
  void update(std::int64_t done, const std::string& note = "");

  /// Prints a line above the bar.
  void say(const std::string& line);

  /// Units per second so far.
  double rate() const;

 private:
  double seconds() const;
  void draw();

  mutable std::mutex mutex_;
  using Clock = std::chrono::steady_clock;
  std::string title_;
  std::string unit_;
  std::string note_;
  std::int64_t total_;
  std::int64_t first_;
  std::int64_t done_;
  bool is_terminal_;
  bool is_drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_;
  LogSink log_before_;
};

}  // namespace casdm
