#include "framework/reporting/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "casdm/text.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainLineSeconds = 15;
constexpr double kShortestSeconds = 0.05;  // below this, no rate is shown
constexpr int kBarWidth = 24;

}  // namespace

Progress::Progress(std::string title, std::int64_t total, std::string unit, std::int64_t first)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      first_(first),
      done_(first),
      is_terminal_(isatty(STDERR_FILENO) != 0),
      log_before_(set_log_sink([this](const LogLine& line) { say(to_string(line)); })) {}

Progress::~Progress() {
  set_log_sink(std::move(log_before_));
  if (is_terminal_ && is_drawn_) std::fputc('\n', stderr);
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

double Progress::rate() const { return seconds() > 0 ? static_cast<double>(done_ - first_) / seconds() : 0; }

void Progress::update(std::int64_t done, const std::string& note) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  note_ = printable(note);
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
  const std::lock_guard lock(mutex_);
  std::fprintf(stderr, is_terminal_ ? "\r\033[K%s\n" : "%s\n", printable(line).c_str());
  if (is_terminal_ && is_drawn_) draw();
}

}  // namespace casdm
