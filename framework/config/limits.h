#pragma once

#include <cstddef>

#include "casdm/value.h"

/// What an experiment may cost to read. The limits hold for the whole of it, with each include counted as often as it
/// is read, so that a file from a stranger is checked in less than 2 s and 500 MB, or refused with the limit it
/// exceeds.
namespace casdm {

inline constexpr std::size_t kMostFiles = 64;          ///< the experiment and its includes
inline constexpr std::size_t kMostBytes = 2 << 20;     ///< of all files; the parser needs 150 bytes for each
inline constexpr std::size_t kMostValues = 10'000;     ///< of all files, tables and arrays among them
inline constexpr std::size_t kDeepestNesting = 64;     ///< tables and arrays in each other; they are walked recursively
inline constexpr std::size_t kLongestKeyPath = 1'000;  ///< bytes; each value holds its own
inline constexpr double kMostSeconds = 2;              ///< of processor time, whatever took it
inline constexpr std::size_t kMostPluginPaths = 64;    ///< that an experiment may add to the search
inline constexpr std::size_t kMostProblems = 50;       ///< that are shown of one experiment

/// What reading one experiment has cost so far. Each call throws ConfigError at `location` when it goes beyond a limit.
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
