#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// A key that two experiments give another value.
struct ExperimentChange {
  std::string key;  ///< "metrics[0].weight"
  Value before;     ///< null: not there
  Value after;
};

/// How the resolved experiment `after` differs from `before`, in the order of keys. What the host writes itself,
/// `plugins.used`, does not count.
std::vector<ExperimentChange> changes(const Value& before, const Value& after);

/// "optimizer.learning_rate: 0.0001 -> 0.0005".
std::string to_string(const ExperimentChange& change);

/// {key: {"from", "to"}}.
Value to_value(const std::vector<ExperimentChange>& changes);

}  // namespace casdm
