#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// `document` resolved as an experiment (see resolve.h) whose keys fit each other: what a schema says of another key
/// (`at_most` of casdm/options.h), the ranges of metrics and guidance, names that come twice, and the like. Needs no
/// plugin's code and no LibTorch. Throws one ConfigError that lists every problem.
/// @param schema  the keys it may have: those of an experiment, or some of them
Value checked_experiment(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog);

/// A file or folder that an experiment reads.
struct ReadPath {
  std::string path;
  Location location;
};

/// What `experiment`, which is resolved, reads: each `existing_path`, and the weights of [[init]].
std::vector<ReadPath> paths_read(const Value& experiment, const ComponentCatalog& catalog);

/// A sentence for each option of a resolved experiment that another one makes void (`only_with` and `not_with` of
/// casdm/options.h), with where it stands.
std::vector<std::pair<Location, std::string>> void_options(const Value& experiment, const ComponentCatalog& catalog);

/// Names them on stderr, of an experiment that is not refused for them: a run that is sampled or resumed.
void report_void_options(const Value& experiment, const ComponentCatalog& catalog);

/// What a training needs besides: that there is something at each `existing_path`, that no option makes another one
/// void, and that its device can do its precision. `experiment` is resolved. Throws one ConfigError that lists every
/// problem.
void check_before_training(const Value& experiment, const ComponentCatalog& catalog);

}  // namespace casdm
