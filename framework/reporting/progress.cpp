#include "framework/reporting/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "casdm/text.h"

namespace casdm {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainLineSeconds = 15;
constexpr double kShortestSeconds = 0.05;  // which make a rate
constexpr int kBarWidth = 24;

}  // namespace

std::string duration(double seconds) {
  const auto total = static_cast<std::int64_t>(std::max(0.0, std::round(seconds)));
  char buffer[32];
  if (total < 60) {
    std::snprintf(buffer, sizeof(buffer), "%ds", static_cast<int>(total));
  } else if (total < 3600) {
    std::snprintf(buffer, sizeof(buffer), "%dm%02ds", static_cast<int>(total / 60), static_cast<int>(total % 60));
  } else {
    std::snprintf(buffer, sizeof(buffer), "%dh%02dm", static_cast<int>(total / 3600),
                  static_cast<int>(total / 60 % 60));
  }
  return buffer;
}

std::string significant(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.3g", value);
  return buffer;
}

std::string short_count(double value) {
  const char* suffix = value >= 1e9 ? "G" : value >= 1e6 ? "M" : value >= 1e4 ? "k" : "";
  const double scaled = value >= 1e9 ? value / 1e9 : value >= 1e6 ? value / 1e6 : value >= 1e4 ? value / 1e3 : value;
  char buffer[32];
  const int decimals = *suffix == '\0' ? (value < 100 ? 1 : 0) : scaled < 10 ? 2 : scaled < 100 ? 1 : 0;
  std::snprintf(buffer, sizeof(buffer), "%.*f%s", value == std::floor(value) && *suffix == '\0' ? 0 : decimals, scaled,
                suffix);
  return buffer;
}

Progress::Progress(std::string title, std::int64_t total, std::string unit, std::int64_t first)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      first_(first),
      done_(first),
      is_terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (is_terminal_ && is_drawn_) std::fputc('\n', stderr);
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

double Progress::rate() const { return seconds() > 0 ? static_cast<double>(done_ - first_) / seconds() : 0; }

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_draw_).count();
  if (is_drawn_ && done < total_ && since < (is_terminal_ ? kRedrawSeconds : kPlainLineSeconds)) return;
  last_draw_ = now;
  draw();
}

void Progress::draw() {
  is_drawn_ = true;
  const double part = total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 1.0;
  const double speed = seconds() > kShortestSeconds ? rate() : 0;
  const std::string pace = speed > 0 ? text("  ", short_count(speed), " ", unit_, "/s  ",
                                            duration(static_cast<double>(total_ - done_) / speed), " left")
                                     : "";
  const std::string numbers =
      text(short_count(static_cast<double>(done_)), "/", short_count(static_cast<double>(total_)), " ", unit_, pace,
           note_.empty() ? "" : "  ", note_);
  if (is_terminal_) {
    const int filled = static_cast<int>(part * kBarWidth);
    const std::string bar = std::string(static_cast<std::size_t>(filled), '#') +
                            std::string(static_cast<std::size_t>(kBarWidth - filled), '.');
    std::fprintf(stderr, "\r\033[K%s [%s] %3d%%  %s", title_.c_str(), bar.c_str(), static_cast<int>(part * 100),
                 numbers.c_str());
  } else {
    std::fprintf(stderr, "%s %3d%%  %s\n", title_.c_str(), static_cast<int>(part * 100), numbers.c_str());
  }
  std::fflush(stderr);
}

void Progress::say(const std::string& line) {
  std::fprintf(stderr, is_terminal_ ? "\r\033[K%s\n" : "%s\n", line.c_str());
  if (is_terminal_ && is_drawn_) draw();
}

}  // namespace casdm
