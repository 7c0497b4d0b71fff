#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "framework/reporting/event_file.h"
#include "framework/reporting/progress.h"
#include "framework/training/checkpoint_writer.h"
#include "framework/training/periodic.h"
#include "framework/training/run_folder.h"
#include "framework/training/shared_drawing.h"
#include "framework/training/training_evaluation.h"
#include "framework/training/training_state.h"

/// The regular tasks of a training between steps: lines of metrics.jsonl, snapshots of averages, checkpoints, grids of
/// samples, evaluations.
namespace casdm {

/// Grids of samples, drawn with the main average: RUN/samples/<images>.png.
class SampleGrids {
 public:
  SampleGrids(const RunFolder& run, const LoadedExperiment& experiment, TrainingState& state, SharedDrawing& drawing)
      : run_(run), experiment_(experiment), state_(state), drawing_(drawing) {}

  /// Draws the grid of the state; returns without one if interrupted. Throws Error.
  void draw();

  /// Whether the grid of the state has been drawn, or none is wanted.
  bool is_drawn() const;

  std::filesystem::path path() const;

 private:
  const RunFolder& run_;
  const LoadedExperiment& experiment_;
  TrainingState& state_;
  SharedDrawing& drawing_;
};

/// Whether anything is due after the last step, according to the experiment's intervals.
bool is_upkeep_due(const LoadedExperiment& experiment, const TrainingState& state);

/// The checkpoints of a training, and its snapshots of averages: a snapshot is on disk before a checkpoint of the same
/// or a later step.
class Checkpoints {
 public:
  /// @param config  of the run, as stored in a checkpoint
  /// @param device  on which the state is
  /// @param last    the checkpoint from which the state was restored; empty: none
  Checkpoints(const RunFolder& run, const LoadedExperiment& experiment, const Value& config, TrainingState& state,
              c10::Device device, std::string last, Progress& progress);

  /// Saves the state, unless it is saved already: when this returns, it is on disk. Throws NotFinite if weights are not
  /// finite; Error if writing this checkpoint, or what has been begun, fails.
  void save();

  /// Begins to save the state in the background, if that is wanted and there is memory for a copy of it; else as
  /// `save`. Waits for what has been begun in earlier steps and is still being written. Throws like `save`.
  void begin_save();

  /// The same for snapshots of the power-function averages. Called before the `begin_save` of a step.
  void begin_snapshots();

  /// Notes what has been written in the meantime. Throws Error if that has failed.
  void settle();

  /// Removes the checkpoints beyond `keep_last`; prints a warning for one that cannot be removed.
  void remove_old();

  /// Saves the state and marks it as the best one. Throws like `save` and `keep_as_best`.
  void save_as_best();

  /// Marks the checkpoint of this many images as the best one, if it is not marked yet; false: it does not exist.
  bool restore_best(std::int64_t images);

  /// Removes the mark of a checkpoint that is no longer there, before a new one gets its name.
  void forget_lost_best();

  /// "the last good checkpoint is RUN/checkpoints/...", or that there is none. Waits for one that is being written.
  std::string last_good();

  /// After `failure` has ended the training: waits for a checkpoint that is being written; if `may_save`, saves the
  /// state after the last step if possible, and reports it.
  void save_after(const std::exception& failure, bool may_save);

 private:
  CheckpointContent content() const;
  bool copy(const std::vector<NamedTensors*>& lists);
  void write(const CheckpointContent& content);
  void finish();
  bool finish_after_failure();
  void note(const CheckpointWriter::Written& written);

  const RunFolder& run_;
  const LoadedExperiment& experiment_;
  const Value& config_;
  TrainingState& state_;
  std::string last_;
  std::int64_t saved_at_;
  bool has_failed_ = false;
  Progress& progress_;
  bool is_in_background_;
  std::uint64_t copied_bytes_ = 0;       ///< of what is being written
  std::uint64_t most_copied_bytes_ = 0;  ///< at any time
  std::int64_t begun_at_ = -1;           ///< images of what is being written
  CheckpointWriter writer_;
};

/// All of these tasks, each when it is due. A checkpoint is saved before a grid is drawn or samples are judged, which
/// may take long or fail.
class Upkeep {
 public:
  /// Keeps references to its arguments; `last` as above.
  Upkeep(const RunFolder& run, const LoadedExperiment& experiment, const Value& config, TrainingState& state,
         c10::Device device, std::string last, SharedDrawing& drawing, TrainingEvaluation& evaluation,
         Progress& progress);

  /// Does what was due when the run stopped and is missing: draws the grid, judges samples, removes old checkpoints.
  void catch_up();

  /// Does what is due after a step; nothing unless `is_upkeep_due`.
  void run(const StepRecord& record);

  /// Saves what has not been saved. Returns whether the training is complete, including the last grid and evaluation.
  bool finish();

  /// After each step, due or not: see Checkpoints.
  void settle() { checkpoints_.settle(); }

  std::string last_good() { return checkpoints_.last_good(); }

  /// The record and snapshots that are due after a step are written before its checkpoint; if that failed, the resume
  /// repeats the steps from the previous checkpoint.
  void save_after(const std::exception& failure) { checkpoints_.save_after(failure, is_recorded_); }

 private:
  void write_record();
  void warn_of_nan(const Value& statistics);
  void draw_grid();
  void evaluate();

  /// Does what is no training, so that its seconds do not count in the rate of the next record.
  void do_aside(const std::function<void()>& work);

  bool is_due(const Periodic& task) const;

  const RunFolder& run_;
  TrainingState& state_;
  c10::Device device_;
  bool has_module_rates_;  ///< whether a module has a learning rate of its own
  Checkpoints checkpoints_;
  SampleGrids grids_;
  std::unique_ptr<EventFile> events_;  ///< null without log.tensorboard
  TrainingEvaluation& evaluation_;
  Progress& progress_;
  std::set<std::string> warned_of_;  ///< statistics that were not finite
  double learning_rate_ = 0;
  Value learning_rates_;          ///< by module; null without has_module_rates_
  std::int64_t recorded_images_;  ///< at the last record, or at the start of this process
  double recorded_seconds_;       ///< likewise, and later by the time of grids and evaluations since
  bool is_recorded_ = true;
  Periodic drawing_;
  Periodic judging_;
  std::vector<Periodic> tasks_;
};

}  // namespace casdm
