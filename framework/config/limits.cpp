#include "framework/config/limits.h"

#include <ctime>

#include "casdm/text.h"
#include "framework/config/key_path.h"

namespace casdm {

namespace {

double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

void ReadingBudget::add_file(const Location& location) {
  if (begin_ < 0) begin_ = processor_seconds();
  if (++files_ > kMostFiles) {
    fail_at(location, text("more than ", kMostFiles, " files are read for one experiment; include fewer"));
  }
  if (processor_seconds() - begin_ > kMostSeconds) {
    fail_at(location, text("reading the experiment took more than ", kMostSeconds, " s; make it smaller"));
  }
}

void ReadingBudget::add_bytes(std::size_t count, const Location& location) {
  bytes_ += count;
  if (bytes_ > kMostBytes) {
    fail_at(location, text("the files of the experiment are larger than ", kMostBytes >> 20, " MiB together"));
  }
}

void ReadingBudget::add_value(const Location& location) {
  if (++values_ > kMostValues) fail_at(location, text("the experiment has more than ", kMostValues, " values"));
  if (location.key.size() > kLongestKeyPath) {
    fail_at({location.file, location.line, location.column, ""},
            text("the key ", quoted(location.key), " is longer than ", kLongestKeyPath, " bytes"));
  }
}

}  // namespace casdm
