#include "framework/reporting/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/machine.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

constexpr double kShortestSeconds = 0.05;  // below this, no rate is shown
constexpr int kBarWidth = 24;
constexpr std::size_t kPlainWidth = 100;

/// Seconds between two lines of a style.
double interval(ProgressStyle style) {
  switch (style) {
    case ProgressStyle::bar:
      return 0.1;
    case ProgressStyle::json:
      return 1;
    default:
      return 15;
  }
}

ProgressStyle chosen_style() {
  const char* chosen = std::getenv(kProgress);
  const ProgressStyle style = progress_style(chosen != nullptr && *chosen != '\0' ? chosen : "auto");
  if (style != ProgressStyle::automatic) return style;
  return isatty(STDERR_FILENO) != 0 ? ProgressStyle::bar : ProgressStyle::lines;
}

/// The first `columns` characters of UTF-8.
std::string cut(const std::string& line, std::size_t columns) {
  std::size_t end = 0;
  for (std::size_t characters = 0; end < line.size(); ++end) {
    const bool begins_character = (static_cast<unsigned char>(line[end]) & 0xC0) != 0x80;
    if (begins_character && characters++ == columns) break;
  }
  return line.substr(0, end);
}

double seconds_left(const ProgressState& state) {
  return static_cast<double>(std::max<std::int64_t>(0, state.total - state.done)) / state.rate;
}

std::string json_line(const ProgressState& state) {
  Value::Table table = {{"progress", state.title}, {"done", state.done}, {"total", state.total}, {"unit", state.unit}};
  if (state.rate > 0) {
    table.emplace_back("rate", state.rate);
    table.emplace_back("seconds_left", seconds_left(state));
  }
  if (!state.note.empty()) table.emplace_back("note", state.note);
  return to_json(table);
}

}  // namespace

ProgressStyle progress_style(std::string_view word) {
  std::string all;
  for (const Choice<ProgressStyle>& choice : choices_of(ProgressStyle{})) {
    if (choice.word == word) return choice.value;
    all += (all.empty() ? "" : ", ") + std::string(choice.word);
  }
  throw ConfigError(text("--progress ", quoted(word), " (or ", kProgress, ") is not one of: ", all));
}

std::string progress_line(const ProgressState& state, ProgressStyle style, std::size_t columns) {
  if (style == ProgressStyle::json) return json_line(state);
  const double part =
      state.total > 0 ? std::min(1.0, static_cast<double>(state.done) / static_cast<double>(state.total)) : 1.0;
  const bool has_pace = state.rate > 0;
  const std::string rate = has_pace ? text("  ", short_count(state.rate), " ", state.unit, "/s") : "";
  const std::string left = has_pace ? text("  ", duration(seconds_left(state)), " left") : "";
  const std::string count = text(short_count(static_cast<double>(state.done)), "/",
                                 short_count(static_cast<double>(state.total)), " ", state.unit);
  const std::string numbers = text(count, rate, left, state.note.empty() ? "" : "  ", state.note);
  const std::string percent = text(std::string(part < 0.1 ? 2
                                               : part < 1 ? 1
                                                          : 0,
                                               ' '),
                                   static_cast<int>(part * 100), "%");
  if (style == ProgressStyle::lines) return text(state.title, " ", percent, "  ", numbers);
  const auto filled = static_cast<std::size_t>(part * kBarWidth);
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  const std::string whole = text(state.title, " [", bar, "] ", percent, "  ", numbers);
  if (cut(whole, columns) == whole) return whole;
  const std::string begin = text(state.title, " ", percent);
  const std::string without_note = text(begin, "  ", count, rate, left);
  const bool has_room = !has_pace || cut(without_note, columns) == without_note;
  return cut(has_room ? text(begin, "  ", numbers) : text(begin, left, rate), columns);
}

Progress::Progress(std::string title, std::int64_t total, std::string unit, std::int64_t first)
    : state_{std::move(title), std::move(unit), first, total, 0, ""},
      first_(first),
      style_(chosen_style()),
      log_before_(set_log_sink([this](const LogLine& line) { say(to_string(line)); })) {}

Progress::~Progress() {
  set_log_sink(std::move(log_before_));
  if (style_ == ProgressStyle::bar && is_drawn_) std::fputc('\n', stderr);
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

double Progress::rate() const { return seconds() > 0 ? static_cast<double>(state_.done - first_) / seconds() : 0; }

void Progress::update(std::int64_t done, const std::string& note) {
  const std::lock_guard lock(mutex_);
  state_.done = done;
  state_.note = printable(note);
  if (style_ == ProgressStyle::none) return;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_draw_).count();
  if (is_drawn_ && done < state_.total && since < interval(style_)) return;
  last_draw_ = now;
  draw();
}

void Progress::draw() {
  is_drawn_ = true;
  state_.rate = seconds() > kShortestSeconds ? rate() : 0;
  // The last column stays free: some terminals begin a new line when it is written.
  const std::string line = progress_line(state_, style_, terminal_columns(STDERR_FILENO, kPlainWidth) - 1);
  std::fprintf(stderr, style_ == ProgressStyle::bar ? "\r\033[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
}

void Progress::say(const std::string& line) {
  const std::lock_guard lock(mutex_);
  std::fprintf(stderr, style_ == ProgressStyle::bar ? "\r\033[K%s\n" : "%s\n", printable(line).c_str());
  if (style_ == ProgressStyle::bar && is_drawn_) draw();
}

}  // namespace casdm
