#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace casdm {

/// Progress of long work on stderr: one redrawn line with a bar, rate and time left on a terminal,
/// a plain line now and then elsewhere.
class Progress {
 public:
  /// @param unit   what is counted: "images"
  /// @param first  how much was done before this process (a resumed run); not part of the rate
  Progress(std::string title, std::int64_t total, std::string unit, std::int64_t first = 0);
  ~Progress();

  /// `note` follows the rate: a loss, a name.
  void update(std::int64_t done, const std::string& note = "");

  /// A line above the bar.
  void say(const std::string& line);

  /// Units per second so far.
  double rate() const;

 private:
  double seconds() const;
  void draw();

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
};

/// "45s", "12m03s", "3h07m".
std::string duration(double seconds);

/// Three significant digits: 0.0213, 1.25e-05.
std::string significant(double value);

/// A large count for people: 950, 12.3k, 4.56M.
std::string short_count(double value);

}  // namespace casdm
