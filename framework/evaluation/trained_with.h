#pragma once

#include <string>
#include <vector>

#include "framework/composition/model.h"
#include "framework/evaluation/earlier_experiments.h"
#include "framework/evaluation/judges.h"

namespace casdm {

/// For each judge, what in the run uses the same trained network: terms of its metrics, "metric.NAME", and keys of
/// other feature extractors in its experiment, such as that of an alignment. Weights are compared, not files, so a
/// converted file is recognised.
using TrainedWith = std::vector<std::vector<std::string>>;

/// The components are created for this comparison. One that cannot be created (its plugin or weights are missing) is
/// left out and reported in `remarks`.
/// @param metrics     the run's [[metrics]] and [data], resolved
/// @param experiment  the run's complete experiment, resolved
/// @param earlier     the experiments in which its weights were trained before
TrainedWith shared_networks(const Judges& judges, const LoadedExperiment& metrics, const Value& experiment,
                            const std::vector<EarlierExperiment>& earlier, std::vector<std::string>& remarks);

}  // namespace casdm
