#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "support/components.h"

namespace casdm::testing {

/// Every component of `kind` in the plugins of this build.
std::vector<std::string> component_names(std::string_view kind);

/// The settings of a run of small_experiment with the component `name` as `table` ("noise", "timesteps", "optimizer",
/// "augmentation"), and with everything it needs.
std::vector<std::string> settings_with(const std::string& table, const std::string& name);

/// Metrics with everything they need: made-up weights, in a folder that exists while this object lives.
class MetricUses {
 public:
  MetricUses();

  /// The contents of the braces of [[metrics]], for images of 32 px: every metric of this build, and some of their
  /// options.
  std::vector<std::string> tables() const;

 private:
  TemporaryFolder weights_;
};

}  // namespace casdm::testing
