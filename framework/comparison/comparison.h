#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/comparison/run_record.h"
#include "framework/comparison/statistics.h"

/// What several runs say together: means over seeds, and differences over equal seeds.
namespace casdm {

/// One run of an arm: a seed.
struct ComparedRun {
  std::int64_t seed = 0;
  std::filesystem::path path;
  std::string problem;  ///< why it takes no part: "failed: ..."; empty: it does
  RunRecord record;
};

/// Runs that differ in nothing but the seed.
struct ComparedArm {
  std::string name;
  std::size_t baseline = 0;  ///< index of the arm that it is compared with; its own: it is one
  std::vector<ComparedRun> runs;
  Value experiment;  ///< see `experiment_of`; null while the arm has no run

  std::size_t successes() const;
};

struct Comparison {
  std::string title;
  std::vector<ComparedArm> arms;
};

/// How one arm did in one measure.
struct ArmSummary {
  std::size_t arm = 0;
  MeanEstimate mean;                       ///< over the seeds of all its runs that have the measure
  std::optional<MeanEstimate> difference;  ///< to its baseline, over the seeds that both have; a baseline has none
  bool is_best = false;                    ///< see `summarise`
};

struct MeasureSummary {
  std::string name;
  Better better = Better::unknown;
  std::string about;
  std::vector<ArmSummary> arms;  ///< those that have the measure

  const ArmSummary* of(std::size_t arm) const;
};

/// Every measure that a run has, those of evaluations first. The seed is the unit: the difference of an arm to its
/// baseline is the mean of the differences at equal seeds, where both saw the same images and noise, so what the
/// seeds have in common drops out. Of the arms with one baseline, the one with the best mean `is_best` where that is
/// sure: where its interval of the difference excludes 0, or, for the baseline itself, all others' do.
std::vector<MeasureSummary> summarise(const Comparison& comparison);

/// The arms of runs that exist: runs of one experiment (see `experiment_of`) are an arm, named after its first run
/// without the seed at the end.
/// @param baseline  an arm's name, or the folder of a run in it; empty: the arm of the first run
/// Throws ConfigError when a folder is not a run, when two runs of an arm have one seed, or there is no such baseline.
Comparison compare_runs(const std::vector<std::filesystem::path>& folders, const std::string& baseline);

/// Names the scores of all runs so that those that were measured otherwise never have one name.
void tell_apart(Comparison& comparison);

/// What a reader must know to take the tables of `measures` for what they are: one line each.
std::vector<std::string> remarks(const Comparison& comparison, const std::vector<MeasureSummary>& measures);

/// How the experiment of arm `arm` differs from its baseline's, in few words: "metrics[0].weight: 0.1 -> 0.2", "head:
/// single -> cascade"; nothing where one of them has no run.
std::vector<std::string> differences(const Comparison& comparison, std::size_t arm);

}  // namespace casdm
