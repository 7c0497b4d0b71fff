#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "casdm/choice.h"
#include "casdm/log.h"

namespace casdm {

/// The environment variable that `--progress` sets: one of ProgressStyle's names.
inline constexpr const char* kProgress = "CASDM_PROGRESS";

enum class ProgressStyle {
  automatic,  ///< bar on a terminal, else lines
  bar,        ///< one line, redrawn
  lines,      ///< a line of text now and then
  json,       ///< a JSON object a line, at most one a second
  none,
};

constexpr auto choices_of(ProgressStyle) {
  using enum ProgressStyle;
  return choices<ProgressStyle>({{automatic, "auto"}, {bar, "bar"}, {lines, "lines"}, {json, "json"}, {none, "none"}});
}

/// The style that `word` names. Throws ConfigError, with all of them, when none is named so.
ProgressStyle progress_style(std::string_view word);

/// How far some work is.
struct ProgressState {
  std::string title;  ///< "training"
  std::string unit;   ///< what is counted: "images"
  std::int64_t done = 0;
  std::int64_t total = 0;
  double rate = 0;   ///< units per second; 0: not known yet
  std::string note;  ///< a loss, a name
};

/// The line, without its end. A bar is cut to `columns`, so that it can be redrawn in place.
std::string progress_line(const ProgressState& state, ProgressStyle style, std::size_t columns);

/// Progress of long work on stderr, in the style that the user has chosen: with the rate and the time left. While this
/// object lives, messages that components log (casdm/log.h) appear above a bar. Thread-safe.
class Progress {
 public:
  /// @param unit   what is counted: "images"
  /// @param first  how much was done before this process (in a resumed run); does not count for the rate
  /// Throws ConfigError when kProgress is none of the styles.
  Progress(std::string title, std::int64_t total, std::string unit, std::int64_t first = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `note` follows the rate: a loss, a name.
  void update(std::int64_t done, const std::string& note = "");

  /// Prints a line above the bar.
  void say(const std::string& line);

 private:
  double seconds() const;
  double rate() const;  ///< units per second so far
  void draw();

  mutable std::mutex mutex_;
  using Clock = std::chrono::steady_clock;
  ProgressState state_;
  std::int64_t first_;
  ProgressStyle style_;
  bool is_drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_;
  LogSink log_before_;
};

}  // namespace casdm
