#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "casdm/value.h"
#include "distributed/processes.h"

namespace casdm::testing {

/// Everything about which processes have to agree: losses that choose timesteps, a metric that remembers the whole
/// batch, a metric for a range of t, gradients of single terms, averages.
extern const char* const kEverything;

/// The plugins that it needs.
extern const std::string kPlugins;

/// Runs `casdm train ARGUMENTS` in several processes, which must succeed. Returns their output.
/// @param more  variables that each gets as well
std::string train(const std::filesystem::path& folder, int processes, const std::string& arguments,
                  const Environment& more = {});

/// The largest relative difference between numbers at the same position; infinite if anything else differs.
double largest_difference(const Value& a, const Value& b);

/// The losses and gradients in the log of a run, by images.
std::map<std::int64_t, Value> log_of(const std::filesystem::path& run);

/// Compares the logs of two runs.
void check_same(const std::filesystem::path& run, const std::filesystem::path& other, double tolerance);

}  // namespace casdm::testing
