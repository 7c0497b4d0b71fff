#pragma once

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// An experiment that trained a run's weights before the run's current one.
struct EarlierExperiment {
  std::string when;  ///< "until 50000 images", "of runs/teacher"
  Value experiment;  ///< resolved
};

/// The earlier experiments of the run in `folder`: those that a resume changed, according to its log, and those of the
/// runs from which [[init]] took weights, according to init.json, if they still exist. What cannot be read is left out.
/// Of very many, only the first are taken, and a remark says so. Throws EvaluationStopped.
/// @param experiment  of the run, after `images` images
std::vector<EarlierExperiment> earlier_experiments(const std::filesystem::path& folder, const Value& experiment,
                                                   std::vector<std::string>& remarks,
                                                   std::int64_t images = std::numeric_limits<std::int64_t>::max());

}  // namespace casdm
