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

namespace casdm {

enum class Better { unknown, lower, higher };

/// "lower", "higher", "".
std::string to_string(Better better);

/// A number that a run has at its end.
struct Measure {
  std::string name;  ///< "loss.eps", "statistic.gate"; of an evaluation: see `tell_apart`
  double value = 0;  ///< finite
  Better better = Better::unknown;
  std::string about = {};                     ///< how an evaluation came to it, for people; empty: it is of the log
  std::optional<double> standard_error = {};  ///< of the finite number of images, where an evaluation states it
  std::string score = {};                     ///< what an evaluation calls it; empty: it is of the log
  Measuring measuring = {};                   ///< of an evaluation
};

/// What a run folder says of a run, without any plugin and without LibTorch. Runs of version 0.1 are read too.
struct RunRecord {
  std::filesystem::path path;
  Value config;  ///< config.toml
  std::int64_t seed = 0;
  std::int64_t images = 0;                          ///< seen at the last line of the log
  std::int64_t total_images = 0;                    ///< of the experiment
  double seconds = 0;                               ///< of training
  std::vector<Measure> measures;                    ///< of evaluations, then of the log's last line
  std::map<std::string, std::string> lacking = {};  ///< names of measures that it has no number for, and why
  std::vector<std::string> warnings = {};

  bool is_complete() const { return images >= total_images; }
  const Measure* find(const std::string& name) const;
};

/// Throws ConfigError when `folder` is not a run folder, Error when it cannot be read.
RunRecord read_run_record(const std::filesystem::path& folder);

/// Calls `use` with each line of a run's metrics.jsonl, oldest first: those of a resume and what a process that was
/// killed has left are skipped.
void read_log(const std::filesystem::path& folder, const std::function<void(const Value& line)>& use);

/// The last such line that has `key`, of at least `images` images; null without one.
Value last_line(const std::filesystem::path& folder, std::string_view key, std::int64_t images = 0);

/// The images seen at the last line of a run's log; 0 without one.
std::int64_t images_in_log(const std::filesystem::path& folder);

/// The experiment of a run without what two runs of one experiment may differ in: [run] name, seed, directory and
/// threads, and the builds of the plugins.
Value experiment_of(const Value& config);

}  // namespace casdm
