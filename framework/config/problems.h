#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// Collects what is wrong with an experiment, so that everything is reported at once.
class Problems {
 public:
  void add(const Location& location, const std::string& message);

  /// At the key path `path` of `experiment`, or at the nearest table above it.
  void add_at(const Value& experiment, const std::string& path, const std::string& message);

  /// Throws one ConfigError that lists the first kMostProblems problems in the order of their locations; does nothing
  /// if there are none.
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
