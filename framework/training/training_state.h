#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/composition/model.h"
#include "framework/data/fingerprint.h"
#include "framework/training/batch_draws.h"
#include "framework/training/checkpoint.h"
#include "framework/training/loss_scaler.h"
#include "framework/training/module_state.h"
#include "framework/training/step_record.h"

namespace casdm {

/// The entry of a checkpoint's numbers that keeps TrainingState::networks.
constexpr const char* kNetworks = "networks";

/// Everything that a training carries from one step to the next: what a checkpoint keeps.
class TrainingState {
 public:
  /// @param is_new  whether the modules start from the weights that they have; else `restore` follows
  /// @param world   the processes that share each batch
  TrainingState(const LoadedExperiment& experiment, const Model& model, const Dataset& dataset, c10::Device device,
                bool is_new, const World& world = World::alone());

  std::vector<ModuleState> modules;
  LossScaler scaler;
  BatchDraws draws;
  StepStatistics statistics;  ///< since the last line of metrics.jsonl

  std::int64_t step() const { return step_; }                           ///< optimiser steps done
  std::int64_t images() const { return images_; }                       ///< seen so far: the next one's position
  std::int64_t images_before() const { return images_ - last_batch_; }  ///< before the last step
  std::int64_t total_images() const { return total_images_; }
  bool is_complete() const { return images_ >= total_images_; }
  double seconds() const;  ///< of training, in all processes of the run
  const DataFingerprint& data() const { return data_; }

  /// The module of a name that is known to exist.
  const ModuleState& module_named(const std::string& name) const;

  /// What metrics remember, handles to it, asked for each time: kept in checkpoints beside the rest.
  void keep_metrics(std::function<NamedTensors()> state) { metrics_ = std::move(state); }

  /// What metrics and other networks that are not trained were like, see `fixed_networks`.
  void keep_networks(Value networks) { networks_ = std::move(networks); }
  const Value& networks() const { return networks_; }

  /// A step begins to change the state; until it ends, the state cannot be saved.
  void begin_update() { is_whole_ = false; }
  void end_update(std::int64_t batch_size);
  bool is_whole() const { return is_whole_; }

  /// Throws NotFinite, naming the module, when weights are not finite, or naming what is remembered when that is NaN:
  /// of what a checkpoint keeps, infinity alone may be meant. Waits for the device.
  void check_numbers() const;

  /// What a checkpoint keeps, without config and plugins.
  CheckpointContent content() const;

  /// Takes over what a checkpoint kept. Throws Error when a part is missing or does not fit, or a number cannot be.
  void restore(const Checkpoint& checkpoint);

  /// Takes over the state of the first process.
  void follow_first(World& world);

 private:
  std::map<std::string, NamedTensors> tensors() const;
  Value numbers() const;
  void check_optimizers(const Checkpoint& checkpoint) const;

  std::int64_t step_ = 0;
  std::int64_t images_ = 0;
  std::int64_t last_batch_;
  std::int64_t total_images_;
  std::int64_t num_classes_;
  bool has_extras_;
  Value networks_{Value::Table{}};
  DataFingerprint data_;
  std::function<NamedTensors()> metrics_;
  double seconds_before_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool is_whole_ = true;
};

/// The data that a checkpoint was trained on; nullopt: it does not say.
std::optional<DataFingerprint> data_of(const Checkpoint& checkpoint);

}  // namespace casdm
