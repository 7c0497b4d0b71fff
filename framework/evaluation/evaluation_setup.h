#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/evaluate_options.h"
#include "framework/evaluation/record.h"
#include "framework/evaluation/stored_images.h"
#include "framework/training/checkpoint.h"

namespace casdm {

/// The parts of an evaluation's command line that decide where images and judges come from.
struct SetupRequest {
  std::string what;                                 ///< a run, its checkpoint, or images; empty: none
  std::string reference;                            ///< of `--reference`
  std::string held_out;                             ///< of `--held-out`
  std::string config;                               ///< of `--config`
  std::vector<std::string> overrides;               ///< of `--set`
  std::vector<std::filesystem::path> plugin_files;  ///< of `--plugin`
  std::optional<std::int64_t> size;                 ///< of `--size`
};

/// Finds the run, the judges and the images of an evaluation.
class EvaluationSetup {
 public:
  /// Throws ConfigError if `what` does not exist or keys of [evaluate] do not resolve; Error if a checkpoint cannot be
  /// read.
  explicit EvaluationSetup(SetupRequest request);

  const std::optional<Checkpoint>& checkpoint() const { return checkpoint_; }  ///< of a run; none: images are judged
  std::filesystem::path run_folder() const;  ///< empty without a run, and for a checkpoint outside of its run
  const EvaluateOptions& options() const { return options_; }
  const PluginHost& host() const { return *base_.host; }
  const std::vector<std::string>& sampling_overrides() const { return sampling_overrides_; }
  std::int64_t threads() const;  ///< as the run's experiment asks; 0: it does not say

  /// Of the images, once it is known from the run, an NPZ, an experiment file, or --size.
  const std::optional<ImageShape>& shape() const { return shape_; }

  /// See images_at. The first images set `shape`, unless it is a run's. Throws ConfigError if they have a size of
  /// their own, and --size is another.
  std::shared_ptr<StoredImages> open(const std::filesystem::path& path);

  /// See remark_on in seen_images.h: what of these images the run was trained with. Empty without a run.
  std::string seen_remark(const StoredImages& images, const std::string& name) const;

  /// The images of the run's [data], with a name for people. Adds a remark if they are not those that the run was
  /// trained with.
  std::shared_ptr<StoredImages> own_data(std::vector<std::string>& remarks);
  std::string own_data_name() const;

  /// What the run shares with each judge: networks that both use.
  TrainedWith trained_with(const Judges& judges, std::vector<std::string>& remarks) const;

 private:
  SetupRequest request_;
  std::optional<Checkpoint> checkpoint_;
  std::vector<std::string> sampling_overrides_;
  LoadedExperiment base_;  ///< [evaluate] and [plugins]
  EvaluateOptions options_;
  std::optional<ImageShape> shape_;
  bool has_images_ = false;  ///< `open` has opened some, so `shape_` is theirs
};

}  // namespace casdm
