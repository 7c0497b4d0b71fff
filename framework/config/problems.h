#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// What is wrong with an experiment: all of it is found before anything is refused.
class Problems {
 public:
  void add(const Location& location, const std::string& message);

  /// At the key path `path` of `experiment`, or where the nearest table above it stands.
  void add_at(const Value& experiment, const std::string& path, const std::string& message);

  /// Throws one ConfigError that lists the problems in the order of their places, the first kMostProblems of them;
  /// does nothing when there is none.
  void finish();

 private:
  struct Problem {
    Location location;
    std::string message;
  };

  std::vector<Problem> problems_;
  std::size_t left_out_ = 0;
};

}  // namespace casdm
