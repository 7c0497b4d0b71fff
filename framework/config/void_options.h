#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/config/resolve.h"

namespace casdm {

/// An option without effect because of another one.
struct VoidOption {
  Location location;
  std::string key;      ///< as ExperimentChange has it
  std::string message;  ///< a sentence
  /// Whether the other option was set on the command line and this one was not, as by `--set evaluate.every_images=0`.
  bool is_overridden = false;
};

/// The options of a resolved experiment that have no effect because of another one: by `only_with` and `not_with` of
/// casdm/options.h, a module's table in [optimizer] if it is frozen, [ema] warmup without a decay, and the mean over
/// the active images of a metric that acts on all. One that tables such as [optimizer.MODULE] inherit is listed only if
/// it has no effect there either.
std::vector<VoidOption> void_options(const Value& experiment, const ComponentCatalog& catalog);

/// Prints these to stderr, for an experiment that is not refused because of them: a run that is sampled or resumed.
void report_void_options(const Value& experiment, const ComponentCatalog& catalog);

/// Prints one of them.
void report_void_option(const VoidOption& option);

}  // namespace casdm
