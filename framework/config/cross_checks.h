#pragma once

#include <string>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// `document` resolved as an experiment (see resolve.h), with a check that its keys agree with each other: constraints
/// on other keys in a schema (`at_most` of casdm/options.h), the ranges of metrics and guidance, duplicate names, and
/// the like. Needs neither plugin code nor LibTorch. Throws one ConfigError that lists every problem.
/// @param schema  the allowed keys: those of an experiment, or some of them
Value checked_experiment(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog,
                         Missing missing = Missing::refused);

/// A file or folder that an experiment reads.
struct ReadPath {
  std::string path;
  Location location;
};

/// The files and folders that `experiment`, which is resolved, reads: each `existing_path`, and the weights of
/// [[init]].
std::vector<ReadPath> paths_read(const Value& experiment, const ComponentCatalog& catalog);

/// Additional checks before training: that each `existing_path` exists, that no option is without effect because of
/// another one, and that the device supports the precision. `experiment` is resolved. Throws one ConfigError that lists
/// every problem.
void check_before_training(const Value& experiment, const ComponentCatalog& catalog);

}  // namespace casdm
