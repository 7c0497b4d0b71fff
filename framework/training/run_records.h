#pragma once

#include <exception>
#include <optional>
#include <string>

#include "framework/reporting/progress.h"
#include "framework/training/checkpoint.h"
#include "framework/training/shared_drawing.h"
#include "framework/training/trainer.h"
#include "framework/training/training_evaluation.h"
#include "framework/training/training_parts.h"
#include "framework/training/upkeep.h"

namespace casdm {

/// What a training produces: the log, grids, evaluations and checkpoints of its run, and the output for the user. The
/// first process writes them; the others call the same functions, wait, and help to draw samples.
class RunRecords {
 public:
  /// Keeps references to its arguments.
  /// @param config  the run's config.toml
  /// @param run     null in all processes but the first
  RunRecords(TrainingParts& parts, const Value& config, RunFolder* run);

  /// Restores the checkpoint, or prepares a new run, and prints what is going to be trained.
  /// @param start             null in all processes but the first, and for a new run
  /// @param allow_other_data  continue even if the data, or the weights of a metric, differ from the checkpoint's
  void begin(std::optional<Checkpoint> start, bool allow_other_data);

  /// Does what was due when the run stopped.
  void catch_up();

  /// After a step: updates the progress, reports remarks, and does what is due.
  void update(const StepRecord& record);

  /// Saves what has not been saved.
  TrainingEnd finish();

  /// Prints a line about this process, which it names if there are several, for the user.
  void say(const std::string& line);

  /// Ends the training with the error, the last good checkpoint and what to try, if this process is the one to report
  /// it.
  [[noreturn]] void fail(const NotFinite& failure);

  /// After `failure` has ended the training: saves the state after the last step if possible. Throws what is to be
  /// reported instead if the numbers of that step were not read yet and are not finite: as `fail` in the first process,
  /// ProcessLost in the others.
  void save_after(const std::exception& failure);

 private:
  std::string restore(std::optional<Checkpoint>& start, bool allow_other_data);
  void introduce(bool is_new);
  void on_first(const std::function<void()>& work);
  void say_remarks();

  TrainingParts& parts_;
  const Value& config_;
  RunFolder* run_;
  SharedDrawing drawing_;
  std::optional<Progress> progress_;  ///< this and the members below only exist in the first process
  std::optional<TrainingEvaluation> evaluation_;
  std::optional<Upkeep> upkeep_;
};

}  // namespace casdm
