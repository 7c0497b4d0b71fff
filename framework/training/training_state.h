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
#include "framework/data/seen_images.h"
#include "framework/training/batch_draws.h"
#include "framework/training/checkpoint.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/loss_scaler.h"
#include "framework/training/module_state.h"
#include "framework/training/step_record.h"

namespace casdm {

/// The entry of a checkpoint's numbers that stores TrainingState::networks.
constexpr const char* kNetworks = "networks";

/// Everything that a training carries from one step to the next, which is what a checkpoint stores.
class TrainingState {
 public:
  /// @param is_new  whether the modules start with their present weights; else `restore` follows
  /// @param world   the processes that share each batch; with train.shard_optimizer they divide the modules, too
  TrainingState(const LoadedExperiment& experiment, const Model& model, const Dataset& dataset, c10::Device device,
                bool is_new, World& world = World::alone());

  /// To be called by all processes before `content`, `restore` and `follow_first`.
  void begin_sharing();

  std::vector<ModuleState> modules;
  LossScaler scaler;
  BatchDraws draws;
  StepStatistics statistics;  ///< since the last line of metrics.jsonl

  std::int64_t step() const { return step_; }      ///< optimizer steps done
  std::int64_t images() const { return images_; }  ///< seen so far, so the position of the next one
  std::int64_t images_before() const { return images_ - last_batch_; }  ///< before the last step
  std::int64_t total_images() const { return total_images_; }
  bool is_complete() const { return images_ >= total_images_; }
  double seconds() const;  ///< of training, in all processes of the run
  const DataFingerprint& data() const { return data_; }
  const SeenImages& seen() const { return seen_; }  ///< images of the data, and of other data before a resume

  /// The module with this name, which must exist.
  const ModuleState& module_named(const std::string& name) const;

  /// `state` returns handles to the metrics' state and is called each time; checkpoints store it with the rest.
  void keep_metrics(std::function<NamedTensors()> state) { metrics_ = std::move(state); }

  /// Stores the records of networks that are not trained, see fixed_networks.h. `of_metrics` is called once, when the
  /// record is needed: at the latest for the first checkpoint.
  void keep_networks(Value of_extractors, std::function<Value()> of_metrics);
  const Value& networks() const;

  /// A step begins to change the state; the state cannot be saved until it ends.
  void begin_update() { is_whole_ = false; }
  void end_update(std::int64_t batch_size);
  /// The same around the reading of a step's numbers after its update: `take_back` if it should not have been made, and
  /// the device has not.
  void begin_reading() { is_whole_ = false; }
  void end_reading() { is_whole_ = true; }
  void take_back(std::int64_t batch_size);
  bool is_whole() const { return is_whole_; }

  /// Tensors by the file of a checkpoint in which they are stored.
  using Parts = std::map<std::string, NamedTensors>;

  /// Throws NotFinite with the module's name if weights are not finite, or with the name of other state, of `parts`, if
  /// it contains NaN: there, infinity may be intended. Waits for the device.
  void check_numbers(const Parts& parts) const;

  /// What this process keeps.
  Parts own() const { return tensors(&StatePart::own); }

  /// Whether the processes divide the optimizers' state and the averages.
  bool is_divided() const;

  /// The bytes of these in each process, by rank; all 0 if they are not divided.
  std::vector<std::int64_t> divided_bytes() const;

  /// The content of a checkpoint, without config and plugins. In the first process, inside World::on_first: if the
  /// state is divided, the others are asked to `help`.
  CheckpointContent content() const;

  /// Of the power-function averages, see `snapshots_of`; as above.
  std::vector<SnapshotContent> snapshots() const;

  /// In the other processes: sends what was asked for. False: the request is not about the state.
  bool help(const std::string& request) const;

  /// Restores the content of a checkpoint; of divided state, in `follow_first`. Throws ConfigError if it does not fit
  /// the experiment, Error if it is damaged.
  void restore(const Checkpoint& checkpoint);

  /// Takes over the first process's state.
  void follow_first(World& world);

 private:
  Parts tensors(NamedTensors (StatePart::*of_part)() const) const;
  void follow_divided();
  Value numbers() const;
  void check_optimizers(const Checkpoint& checkpoint) const;

  World& world_;
  Parts restored_;  ///< divided state of a checkpoint, until `follow_first`
  std::int64_t step_ = 0;
  std::int64_t images_ = 0;
  std::int64_t last_batch_ = 0;  ///< size; 0 before the first step
  std::int64_t total_images_;
  std::int64_t num_classes_;
  bool has_extras_;
  mutable Value networks_{Value::Table{}};
  mutable std::function<Value()> metric_networks_;  ///< null once they are among `networks_`
  DataFingerprint data_;
  SeenImages seen_;
  std::function<NamedTensors()> metrics_;
  double seconds_before_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool is_whole_ = true;
};

/// The data that a checkpoint was trained on; nullopt: not recorded.
std::optional<DataFingerprint> data_of(const Checkpoint& checkpoint);

/// The images that a checkpoint was trained with; none if it does not record them.
SeenImages seen_of(const Checkpoint& checkpoint);

}  // namespace casdm
