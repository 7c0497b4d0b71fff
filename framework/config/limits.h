#pragma once

#include <cstddef>

#include "casdm/value.h"

/// Limits on what reading an experiment may cost. They apply to the whole experiment, with each include counted as
/// often as it is read, so a stranger's file is either checked in less than 2 s and 500 MB, or refused with the limit
/// that it exceeds.
namespace casdm {

inline constexpr std::size_t kMostFiles = 64;          ///< the experiment and its includes
inline constexpr std::size_t kMostBytes = 2 << 20;     ///< of all files; the parser needs 150 bytes for each
inline constexpr std::size_t kMostValues = 10'000;     ///< in all files, including tables and arrays
inline constexpr std::size_t kDeepestNesting = 64;     ///< of tables and arrays; they are processed recursively
inline constexpr std::size_t kDeepestComponents = 16;  ///< inside one another, given or by default
inline constexpr std::size_t kLongestKeyPath = 1'000;  ///< bytes; each value stores its own
inline constexpr double kMostSeconds = 2;              ///< of processor time, whatever used it
inline constexpr std::size_t kMostPluginPaths = 64;    ///< that an experiment may add to the search path
inline constexpr std::size_t kMostProblems = 50;       ///< reported for one experiment

/// What reading an experiment has cost so far. Each call throws ConfigError at `location` if a limit is exceeded.
class ReadingBudget {
 public:
  void add_file(const Location& location);
  void add_bytes(std::size_t count, const Location& location);
  void add_value(const Location& location);

  std::size_t bytes_left() const { return kMostBytes - bytes_; }

 private:
  std::size_t files_ = 0;
  std::size_t bytes_ = 0;
  std::size_t values_ = 0;
  double begin_ = -1;  ///< processor time at the first file
};

}  // namespace casdm
