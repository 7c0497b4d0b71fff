#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/value.h"
#include "framework/comparison/measuring.h"
#include "framework/comparison/provenance.h"

namespace casdm {

enum class Better { unknown, lower, higher };

/// "lower", "higher", "".
std::string to_string(Better better);

/// A number that a run has at the end.
struct Measure {
  std::string name;  ///< "loss.eps", "statistic.gate"; for a score of an evaluation see `tell_apart`
  double value = 0;  ///< finite
  Better better = Better::unknown;
  std::string about = {};                     ///< how an evaluation computed it, for people; empty: it is from the log
  std::optional<double> standard_error = {};  ///< due to the finite number of images, if an evaluation states it
  std::string score = {};                     ///< its name without how it was measured; empty: measured in one way only
  Measuring measuring = {};                   ///< of a score of an evaluation, or of a mean over images in the log
};

/// What a run folder says about a run, read without plugins and LibTorch. Runs of version 0.1 can be read, too.
struct RunRecord {
  std::filesystem::path path;
  Value config;  ///< config.toml
  std::int64_t seed = 0;
  std::int64_t images = 0;                          ///< seen by the last line of the log
  std::int64_t total_images = 0;                    ///< as set by the experiment
  double seconds = 0;                               ///< of training
  std::vector<Measure> measures;                    ///< of evaluations, then of the last line of the log
  std::map<std::string, std::size_t> places = {};   ///< of the measures, by name; see index_measures
  std::map<std::string, std::string> lacking = {};  ///< measures without a number, and why
  Provenance provenance = {};
  std::vector<std::string> warnings = {};

  bool is_complete() const { return images >= total_images; }

  /// The first measure of this name, as of the last `index_measures`; null if there is none.
  const Measure* find(const std::string& name) const;

  /// To be called after measures were added or renamed.
  void index_measures();
};

/// Lines of the log that cannot be read are left out with a warning. Throws ConfigError if `folder` is not a run
/// folder, Error if it cannot be read.
RunRecord read_run_record(const std::filesystem::path& folder);

/// Calls `use` with each line of a run's metrics.jsonl, oldest first. Skips records of resumes and the unfinished lines
/// of a process that was killed.
void read_log(const std::filesystem::path& folder, const std::function<void(const Value& line)>& use);

/// The last such line that has `key` and at least `images` images; null if there is none.
Value last_line(const std::filesystem::path& folder, std::string_view key, std::int64_t images = 0);

/// The images seen by the last line of a run's log; 0 if there is none.
std::int64_t images_in_log(const std::filesystem::path& folder);

/// The experiment of a run without the keys in which two runs of one experiment may differ: [run] name, seed, directory
/// and threads, those that change how fast images are read, what else is logged and when checkpoints are written, and
/// the builds of the plugins.
Value experiment_of(const Value& config);

/// [data] without what does not decide its images.
Value images_of(const Value& config);

}  // namespace casdm
