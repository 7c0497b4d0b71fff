#pragma once

#include <optional>
#include <string>

#include "framework/composition/model.h"
#include "framework/distributed/world.h"

namespace casdm {

/// Images per second of an experiment's training steps on this machine.
struct PrecisionRates {
  double fp32 = 0;
  double bf16 = 0;

  /// bf16 rounds more, so it must be faster by more than the noise of a measurement.
  Precision faster() const;
};

/// The rates that were measured on this machine: with its processor or card, LibTorch, builds of plugins and number of
/// threads, for networks, metrics, images and batches like the experiment's. Nothing: they have not been measured.
std::optional<PrecisionRates> known_rates(const LoadedExperiment& experiment);

/// Measures them, which takes some seconds, and keeps them in the user's cache folder.
PrecisionRates measured_rates(const LoadedExperiment& experiment);

/// The experiment with the precision that it is trained in: `run.precision` as it is, but for `automatic` the faster
/// one of fp32 and bf16, measured unless it is known; fp32 where the device has no bf16 products. The user is told,
/// with both rates. If bf16 is asked for and known to be slower, the user is told that, too.
/// @param world  all processes get the first one's choice
LoadedExperiment with_chosen_precision(LoadedExperiment experiment, World& world = World::alone());

}  // namespace casdm
