#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/comparison/run_record.h"
#include "framework/comparison/statistics.h"

/// What several runs show together: means over seeds, and differences at equal seeds.
namespace casdm {

/// One run of an arm, with one seed.
struct ComparedRun {
  std::int64_t seed = 0;
  std::filesystem::path path;
  std::string problem;  ///< why the run is left out: "failed: ..."; empty: it is used
  RunRecord record;
};

/// Runs that differ only in the seed.
struct ComparedArm {
  std::string name;
  std::size_t baseline = 0;  ///< index of the arm it is compared with; its own index if it is a baseline
  std::vector<ComparedRun> runs;
  Value experiment;  ///< see `experiment_of`; null if the arm has no run yet

  std::size_t successes() const;
};

struct Comparison {
  std::string title;
  std::vector<ComparedArm> arms;
};

/// The result of one arm in one measure.
struct ArmSummary {
  std::size_t arm = 0;
  MeanEstimate mean;                       ///< over the seeds of all its runs with the measure
  std::optional<MeanEstimate> difference;  ///< from its baseline, over the seeds that both have; nothing for a baseline
  bool is_best = false;                    ///< see `summarise`
};

struct MeasureSummary {
  std::string name;
  Better better = Better::unknown;
  std::string about;
  std::vector<ArmSummary> arms;  ///< those that have the measure

  const ArmSummary* of(std::size_t arm) const;
};

/// Every measure that a run has, those of evaluations first. The seed is the unit: the difference between an arm and
/// its baseline is the mean of the differences at equal seeds, where both saw the same images and noise, so the effect
/// of the seed cancels. Of the arms with the same baseline, the one with the best mean `is_best` if that is certain: if
/// the interval of its difference excludes 0 or, for the baseline itself, if those of all others do.
std::vector<MeasureSummary> summarise(const Comparison& comparison);

/// The arms of existing runs: runs of one experiment (see `experiment_of`) form an arm, named after its first run
/// without the seed at the end.
/// @param baseline  an arm's name, or the folder of a run in it; empty: the arm of the first run
/// Throws ConfigError if a folder is not a run, if two runs of an arm have the same seed, or if there is no such
/// baseline.
Comparison compare_runs(const std::vector<std::filesystem::path>& folders, const std::string& baseline);

/// Renames the numbers of all runs that take part so that scores measured in different ways never share a name.
void tell_apart(Comparison& comparison);

/// What a reader must know to understand the tables of `measures`, one line each.
std::vector<std::string> remarks(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// How the experiment of arm `arm` differs from its baseline's, in a few words: "metrics[0].weight: 0.1 -> 0.2", "head:
/// single -> cascade"; nothing if one of them has no run.
std::vector<std::string> differences(const Comparison& comparison, std::size_t arm);

}  // namespace casdm
