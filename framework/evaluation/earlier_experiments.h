#pragma once

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// An experiment that weights have come through before the one of their run.
struct EarlierExperiment {
  std::string when;  ///< "until 50000 images", "of runs/teacher"
  Value experiment;  ///< resolved
};

/// Those of the run in `folder` that a resume has changed, by its log, and those of the runs that [[init]] took weights
/// from, by init.json, where these are still there. What cannot be read says nothing.
/// @param experiment  of the run, after `images` images
std::vector<EarlierExperiment> earlier_experiments(const std::filesystem::path& folder, const Value& experiment,
                                                   std::int64_t images = std::numeric_limits<std::int64_t>::max());

}  // namespace casdm
