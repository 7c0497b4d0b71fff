#pragma once

#include <string>
#include <vector>

#include "framework/composition/model.h"
#include "framework/evaluation/earlier_experiments.h"
#include "framework/evaluation/judges.h"

namespace casdm {

/// What of a run shares a trained network with each judge: the terms of its metrics, "metric.NAME", and the keys of
/// other feature extractors in its experiment, such as that of an alignment. Weights are compared, not files, so a
/// converted file is seen through.
using TrainedWith = std::vector<std::vector<std::string>>;

/// The components are made for this comparison. One that cannot be made (its plugin or weights are gone) is left out,
/// and reported in `remarks`.
/// @param metrics     the run's [[metrics]] and [data], resolved
/// @param experiment  all of the run's experiment, resolved
/// @param earlier     those that its weights have come through before
TrainedWith shared_networks(const Judges& judges, const LoadedExperiment& metrics, const Value& experiment,
                            const std::vector<EarlierExperiment>& earlier, std::vector<std::string>& remarks);

}  // namespace casdm
