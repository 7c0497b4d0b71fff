#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/config/experiment.h"
#include "framework/data/fingerprint.h"
#include "framework/training/experiment_change.h"

namespace casdm {

/// What a resume has changed.
struct ResumeRecord {
  std::int64_t images = 0;  ///< seen by then
  std::vector<ExperimentChange> changed;
  std::vector<std::string> replaced;  ///< data, networks and plugins that replaced others, one sentence each
};

/// Weights with which a module started.
struct StartingWeights {
  std::string sha256;                  ///< of their file
  std::optional<std::int64_t> images;  ///< that the run they come from had seen
};

/// What a run was really made of: its experiment names data, weights and plugins, but what they were is recorded
/// elsewhere in its folder. What an earlier version did not record, or is gone, is left out.
struct Provenance {
  std::optional<DataFingerprint> data;           ///< of the newest checkpoint
  Value networks;                                ///< likewise, see fixed_networks.h; null: unknown
  std::map<std::string, StartingWeights> start;  ///< given by [[init]], by module
  std::vector<UsedPlugin> plugins;
  std::vector<ResumeRecord> resumes;  ///< those that have changed something, oldest first
};

/// @param config  config.toml of the run in `folder`
/// @param log     the content of its metrics.jsonl
Provenance read_provenance(const std::filesystem::path& folder, const Value& config, const std::string& log);

/// What the run was trained with until resumes changed it, a clause for each resume: "until 500 images: KEY: 1 -> 2".
std::vector<std::string> earlier_settings(const Provenance& provenance, const Value& config);

/// In what a run was made of something else than another one of the same experiment: "trained with other data than
/// OTHER: 80 images instead of 100".
std::vector<std::string> unlike(const Provenance& run, const Provenance& other, const std::string& name_of_other);

/// Which plugins have other builds than in `other`: "gap (9dca instead of 3e7f)"; empty if none has.
std::string other_builds(const std::vector<UsedPlugin>& plugins, const std::vector<UsedPlugin>& other);

/// state.json of the newest checkpoint of a run; null if there is none, or it is damaged.
Value newest_state(const std::filesystem::path& run);

}  // namespace casdm
