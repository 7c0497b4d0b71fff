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

/// What a training leaves behind: the log, grids, evaluations and checkpoints of its run, and what the user sees. The
/// first process keeps them; the others call the same functions, wait, and help to draw samples.
class RunRecords {
 public:
  /// Keeps references.
  /// @param config  the run's config.toml
  /// @param run     null in all processes but the first
  RunRecords(TrainingParts& parts, const Value& config, RunFolder* run);

  /// Restores the checkpoint, or clears the way for a run that begins, and says what is going to be trained.
  /// @param start             null in all processes but the first, and for a run that begins
  /// @param allow_other_data  continue even if the data, or the weights of a metric, are not the checkpoint's
  void begin(std::optional<Checkpoint> start, bool allow_other_data);

  /// Does what was due where the run stopped.
  void catch_up();

  /// After a step: the progress, remarks, and what is due.
  void update(const StepRecord& record);

  /// Saves what was not saved.
  TrainingEnd finish();

  /// A line for the user, of this process.
  void say(const std::string& line);

  /// Ends the training by the error, with the last good checkpoint and what to try, where this process reports it.
  [[noreturn]] void fail(const NotFinite& failure) const;

  /// Saves the state between two steps, if it can be, after `failure` has ended the training.
  void save_after(const std::exception& failure);

 private:
  std::string restore(std::optional<Checkpoint>& start, bool allow_other_data);
  void introduce(bool is_new);
  void on_first(const std::function<void()>& work);

  TrainingParts& parts_;
  const Value& config_;
  RunFolder* run_;
  SharedDrawing drawing_;
  std::optional<Progress> progress_;  ///< this and the rest in the first process alone
  std::optional<TrainingEvaluation> evaluation_;
  std::optional<Upkeep> upkeep_;
};

}  // namespace casdm
