#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/evaluate_options.h"
#include "framework/evaluation/record.h"
#include "framework/evaluation/stored_images.h"
#include "framework/training/run_folder.h"
#include "framework/training/shared_drawing.h"
#include "framework/training/training_state.h"

namespace casdm {

/// [evaluate] in a training: at intervals, samples of the main average are judged, and a line of metrics.jsonl records
/// the scores. Noise and labels of the samples are functions of evaluate.seed and their indices, so the training is the
/// same with or without it.
class TrainingEvaluation {
 public:
  /// Creates the judges and, unless it is in the cache, the reference, so that errors appear before anything of the run
  /// changes; does nothing if evaluate.every_images is 0. Keeps references to its arguments. Throws ConfigError and
  /// Error like those.
  TrainingEvaluation(const RunFolder& run, const LoadedExperiment& experiment, const Model& model,
                     std::shared_ptr<Dataset> dataset, TrainingState& state, c10::Device device,
                     SharedDrawing& drawing);

  /// Reads what the run's folder and the restored state say about earlier training. To be called before the rest.
  void begin();

  bool is_wanted() const { return judges_.has_value(); }
  const EvaluateOptions& options() const { return options_; }

  /// Whether the log contains the evaluation of the state, or none is wanted.
  bool is_done() const;

  /// Evaluates the state; returns without a line if interrupted. Returns whether it is the best so far according to
  /// evaluate.keep_best. Throws Error.
  bool evaluate();

  /// What the user should know before the first step: that the search for the best starts again; empty: nothing.
  std::string remark() const;

  /// The values of the last evaluation by score name, as a table.
  const Value& scores() const { return scores_; }

  /// The images of the best state so far, according to the log; -1: there is none. Scores measured differently (other
  /// judges, number, seed or reference, or samples drawn differently) cannot be compared: the search for the best
  /// starts again, and until then the earlier one counts.
  std::int64_t best_images() const { return best_images_; }

  /// Begins the search for the best again.
  void forget_best() { has_best_ = false; }

 private:
  ImageStream stream() const;
  std::string conditions_of_samples() const;
  void read_log();
  void set_best(std::int64_t images, double value);
  bool is_better(double value) const;

  const RunFolder& run_;
  const LoadedExperiment& experiment_;
  EvaluateOptions options_;
  const Model& model_;
  TrainingState& state_;
  SharedDrawing& drawing_;
  std::optional<Judges> judges_;
  Reference reference_;
  std::shared_ptr<StoredImages> elsewhere_;  ///< of evaluate.reference, until `begin`; null: the training's, or a file
  TrainedWith trained_with_;
  std::vector<std::string> remarks_;
  bool is_lower_better_ = true;
  std::int64_t last_images_ = -1;  ///< of the last evaluation in the log
  std::string conditions_;         ///< digest_of_conditions; empty: the samples are not conditioned on extras
  std::string measure_;            ///< identifies everything but the weights that decides a score
  std::int64_t best_images_ = -1;  ///< of the best so far or, if none was measured this way, of the earlier best
  double best_ = 0;
  bool has_best_ = false;  ///< whether best_ was measured as it is now
  Value scores_;
};

/// Throws ConfigError if evaluate.reference of a resolved experiment is given and does not exist.
void require_reference(const Value& experiment);

/// Whether the log of a run contains an evaluation after `images` images.
bool is_evaluated(const RunFolder& run, std::int64_t images);

}  // namespace casdm
