#include "framework/comparison/comparison.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/comparison/unlike_runs.h"
#include "framework/config/cross_checks.h"
#include "framework/config/experiment.h"
#include "framework/loading/discovery.h"
#include "framework/support/number_format.h"
#include "framework/support/one_line.h"
#include "framework/training/experiment_change.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kFewSeeds = 3;

using BySeed = std::map<std::int64_t, double>;

BySeed values_of(const ComparedArm& arm, const std::string& measure) {
  BySeed values;
  for (const ComparedRun& run : arm.runs) {
    const Measure* found = run.problem.empty() ? run.record.find(measure) : nullptr;
    if (found != nullptr) values[run.seed] = found->value;
  }
  return values;
}

MeanEstimate mean_of(const BySeed& values) {
  std::vector<double> all;
  for (const auto& [seed, value] : values) all.push_back(value);
  return estimate_mean(all);
}

MeanEstimate difference_of(const BySeed& values, const BySeed& baseline) {
  std::vector<double> differences;
  for (const auto& [seed, value] : values) {
    const auto other = baseline.find(seed);
    if (other != baseline.end()) differences.push_back(value - other->second);
  }
  return estimate_mean(differences);
}

void mark_best(MeasureSummary& measure, const Comparison& comparison, std::size_t baseline) {
  if (measure.better == Better::unknown) return;
  std::vector<ArmSummary*> group;
  for (ArmSummary& arm : measure.arms) {
    if (comparison.arms[arm.arm].baseline == baseline) group.push_back(&arm);
  }
  if (group.size() < 2) return;
  const bool is_lower = measure.better == Better::lower;
  ArmSummary* best = *std::min_element(group.begin(), group.end(), [&](const ArmSummary* a, const ArmSummary* b) {
    return is_lower ? a->mean.mean < b->mean.mean : a->mean.mean > b->mean.mean;
  });
  // A difference is over the seeds in common, so it may contradict the means.
  const auto is_surely = [](const ArmSummary* arm, bool is_below) {
    return arm->difference && arm->difference->excludes_zero() && (arm->difference->mean < 0) == is_below;
  };
  best->is_best = best->difference ? is_surely(best, is_lower)
                                   : std::all_of(group.begin(), group.end(), [&](const ArmSummary* arm) {
                                       return arm == best || is_surely(arm, !is_lower);
                                     });
}

/// How the scores were measured; several ways if the arms use different samplers.
std::string about(const Comparison& comparison, const std::string& measure) {
  std::vector<std::string> ways;
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      const Measure* found = run.problem.empty() ? run.record.find(measure) : nullptr;
      if (found == nullptr || std::find(ways.begin(), ways.end(), found->about) != ways.end()) continue;
      ways.push_back(found->about);
    }
  }
  return join(ways, "; ");
}

MeasureSummary summary_of(const Comparison& comparison, const Measure& measure) {
  MeasureSummary result{measure.name, measure.better, about(comparison, measure.name), {}};
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    const ComparedArm& arm = comparison.arms[i];
    const BySeed values = values_of(arm, measure.name);
    if (values.empty()) continue;
    ArmSummary summary{i, mean_of(values), {}, false};
    if (arm.baseline != i) {
      summary.difference = difference_of(values, values_of(comparison.arms[arm.baseline], measure.name));
      if (summary.difference->count == 0) summary.difference.reset();
    }
    result.arms.push_back(summary);
  }
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    if (comparison.arms[i].baseline == i) mark_best(result, comparison, i);
  }
  return result;
}

/// The name of a run's folder without its seed at the end: "casdm-s1", "casdm_seed1" and "casdm-1" give "casdm".
std::string name_without_seed(const RunRecord& run) {
  std::string name = fs::absolute(run.path).lexically_normal().filename().string();
  if (name.empty()) name = fs::absolute(run.path).lexically_normal().parent_path().filename().string();
  std::string whole = name;
  const std::string seed = std::to_string(run.seed);
  if (!name.ends_with(seed)) return whole;
  name.resize(name.size() - seed.size());
  for (const char* word : {"seed", "s"}) {
    const std::string_view ending = word;
    const std::size_t before = name.size() - std::min(name.size(), ending.size());
    if (!name.ends_with(ending) || (before > 0 && name[before - 1] != '-' && name[before - 1] != '_')) continue;
    name.resize(before);
    break;
  }
  if (name.empty() || (name.back() != '-' && name.back() != '_')) return whole;
  name.erase(name.find_last_not_of("-_") + 1);
  return name.empty() ? whole : name;
}

/// With the defaults of this version filled in, if the plugins are available: an older run may not state options that a
/// newer one does.
Value resolved(const Value& config, const PluginCatalog& catalog) {
  try {
    return checked_experiment(config, schema_of<Experiment>(), catalog);
  } catch (const Error&) {
    return config;
  }
}

void add_run(Comparison& comparison, RunRecord run, const PluginCatalog& catalog) {
  Value experiment = experiment_of(resolved(run.config, catalog));
  const auto is_same = [&](const ComparedArm& arm) { return changes(arm.experiment, experiment).empty(); };
  auto arm = std::find_if(comparison.arms.begin(), comparison.arms.end(), is_same);
  if (arm == comparison.arms.end()) {
    arm = comparison.arms.insert(arm, {name_without_seed(run), 0, {}, std::move(experiment)});
  }
  for (const ComparedRun& other : arm->runs) {
    if (other.seed != run.seed) continue;
    throw ConfigError(text(other.path.string(), " and ", run.path.string(),
                           " are runs of one experiment with the seed ", run.seed,
                           ", so they are one value; give one of them"));
  }
  std::string problem;
  if (!run.is_complete()) {
    problem = text("not complete: ", run.images, " of ", run.total_images, " images");
  }
  arm->runs.push_back({run.seed, run.path, problem, std::move(run)});
}

/// Gives arms with the same name the names of their first runs.
void make_names_unique(Comparison& comparison) {
  std::map<std::string, int> counts;
  for (const ComparedArm& arm : comparison.arms) ++counts[arm.name];
  for (ComparedArm& arm : comparison.arms) {
    if (counts[arm.name] > 1) arm.name = arm.runs.front().path.string();
  }
}

std::size_t baseline_index(const Comparison& comparison, const std::string& baseline) {
  if (baseline.empty()) return 0;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    const ComparedArm& arm = comparison.arms[i];
    names.push_back(arm.name);
    const auto is_it = [&](const ComparedRun& run) {
      std::error_code ignored;
      return fs::equivalent(run.path, baseline, ignored);
    };
    if (arm.name == baseline || std::any_of(arm.runs.begin(), arm.runs.end(), is_it)) return i;
  }
  throw ConfigError(text("--baseline ", quoted(baseline), ": expected one of ", join(names, ", "),
                         ", or the folder of one of the runs"));
}

/// The names of the numbers that at least one run of an arm has.
std::set<std::string> measures_of(const ComparedArm& arm) {
  std::set<std::string> names;
  for (const ComparedRun& run : arm.runs) {
    if (!run.problem.empty()) continue;
    for (const Measure& measure : run.record.measures) names.insert(measure.name);
  }
  return names;
}

/// Whether a run with these `scores` has that of `measure` under another name, measured differently:
/// `measured_otherwise` says so.
bool has_otherwise(const Comparison& comparison, const std::set<std::string>& scores, const std::string& measure) {
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& other : arm.runs) {
      const Measure* found = other.record.find(measure);
      if (found == nullptr || found->score.empty()) continue;
      return scores.contains(found->score);
    }
  }
  return false;
}

/// "loss.eps, loss.x0, loss.mu, seconds and 3 more".
std::string some_of(std::vector<std::string> names) {
  constexpr std::size_t kShown = 4;
  const std::size_t rest = names.size() - std::min(names.size(), kShown);
  names.resize(names.size() - rest);
  return text(join(names, ", "), rest > 0 ? text(" and ", rest, " more") : "");
}

/// By the name of a measure: the number of runs of each arm that have it.
using RunsByName = std::map<std::string, std::vector<std::size_t>>;

/// "ARM, seed 1: no loss.eps: it is nan": adds, for each run, which of the `measures` it lacks and why.
void add_lacking(const Comparison& comparison, const std::vector<MeasureSummary>& measures,
                 std::vector<std::string>& lines) {
  for (const ComparedArm& arm : comparison.arms) {
    const std::set<std::string> of_arm = measures_of(arm);
    for (const ComparedRun& run : arm.runs) {
      if (!run.problem.empty()) continue;
      std::set<std::string> scores;
      for (const Measure& measure : run.record.measures) scores.insert(measure.score);
      std::map<std::string, std::vector<std::string>> by_reason;
      for (const MeasureSummary& measure : measures) {
        const std::string& name = measure.name;
        if (run.record.find(name) != nullptr) continue;
        const auto known = run.record.lacking.find(name);
        if (known != run.record.lacking.end()) by_reason[known->second].push_back(name);
        if (known != run.record.lacking.end() || has_otherwise(comparison, scores, name)) continue;
        const bool is_in_arm = of_arm.contains(name), is_of_evaluation = !measure.about.empty();
        if (is_in_arm || is_of_evaluation) {
          by_reason[text("it has none, although other ", is_in_arm ? "runs of the arm do" : "arms do")].push_back(name);
        }
      }
      for (const auto& [reason, names] : by_reason) {
        lines.push_back(text(arm.name, ", seed ", run.seed, ": no ", some_of(names), ": ", reason));
      }
    }
  }
}

/// " num=2000 (a); num=500 (b in 1 of 2 runs)": the ways in which a score was measured, each after `prefix`.
/// @param runs  by the name that says the way: the number of runs per arm
std::string ways_of(const Comparison& comparison, const std::string& score, const RunsByName& runs,
                    const std::string& prefix) {
  std::vector<std::string> parts;
  for (const auto& [name, of_arms] : runs) {
    std::vector<std::string> arms;
    for (std::size_t i = 0; i < of_arms.size(); ++i) {
      const ComparedArm& arm = comparison.arms[i];
      if (of_arms[i] == 0) continue;
      const bool is_in_all = of_arms[i] == arm.successes();
      arms.push_back(is_in_all ? arm.name : text(arm.name, " in ", of_arms[i], " of ", arm.successes(), " runs"));
    }
    const std::string way = name.substr(score.size());
    const std::string said = prefix.empty() && way.starts_with(' ') ? way.substr(1) : prefix + way;
    parts.push_back(text(said, said.empty() ? "(" : " (", join(arms, ", "), ")"));
  }
  return join(parts, "; ");
}

/// A line for the scores that were measured one way in some runs and another way in others.
std::vector<std::string> measured_otherwise(const Comparison& comparison) {
  std::map<std::string, RunsByName> scores;
  std::map<std::string, std::size_t> all;
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    for (const ComparedRun& run : comparison.arms[i].runs) {
      if (!run.problem.empty()) continue;
      std::set<std::string> here;
      for (const Measure& measure : run.record.measures) {
        if (measure.score.empty()) continue;
        here.insert(measure.score);
        ++scores[measure.score].try_emplace(measure.name, comparison.arms.size()).first->second[i];
      }
      for (const std::string& score : here) ++all[score];
    }
  }
  std::map<std::string, std::vector<std::string>> by_ways;
  for (const auto& [score, runs] : scores) {
    const bool is_of_all = std::all_of(runs.begin(), runs.end(), [&, &score = score](const auto& name) {
      return std::accumulate(name.second.begin(), name.second.end(), std::size_t{0}) == all[score];
    });
    if (!is_of_all) by_ways[ways_of(comparison, score, runs, "")].push_back(score);
  }
  std::vector<std::string> lines;
  for (const auto& [ways, names] : by_ways) {
    const std::string of_one = names.size() > 1 ? "" : ways_of(comparison, names[0], scores[names[0]], names[0]);
    lines.push_back(text("measured differently, so not compared with each other: ",
                         names.size() < 2 ? "" : text(some_of(names), ": "), names.size() > 1 ? ways : of_one));
  }
  return lines;
}

}  // namespace

std::size_t ComparedArm::successes() const {
  return static_cast<std::size_t>(
      std::count_if(runs.begin(), runs.end(), [](const ComparedRun& run) { return run.problem.empty(); }));
}

const ArmSummary* MeasureSummary::of(std::size_t arm) const {
  const auto found = std::find_if(arms.begin(), arms.end(), [&](const ArmSummary& a) { return a.arm == arm; });
  return found == arms.end() ? nullptr : &*found;
}

std::vector<MeasureSummary> summarise(const Comparison& comparison) {
  std::vector<MeasureSummary> result;
  std::set<std::string> known;
  for (const bool of_evaluation : {true, false}) {
    for (const ComparedArm& arm : comparison.arms) {
      for (const ComparedRun& run : arm.runs) {
        for (const Measure& measure : run.record.measures) {
          if (measure.about.empty() == of_evaluation || !run.problem.empty()) continue;
          if (known.insert(measure.name).second) result.push_back(summary_of(comparison, measure));
        }
      }
    }
  }
  return result;
}

Comparison compare_runs(const std::vector<fs::path>& folders, const std::string& baseline) {
  Comparison comparison;
  const PluginCatalog catalog = PluginCatalog::discover({});
  for (const fs::path& folder : folders) add_run(comparison, read_run_record(folder), catalog);
  tell_apart(comparison);
  make_names_unique(comparison);
  const std::size_t index = baseline_index(comparison, baseline);
  for (ComparedArm& arm : comparison.arms) arm.baseline = index;
  return comparison;
}

std::vector<std::string> differences(const Comparison& comparison, std::size_t arm) {
  const ComparedArm& compared = comparison.arms[arm];
  const Value& before = comparison.arms[compared.baseline].experiment;
  std::vector<std::string> lines;
  if (before.is_null() || compared.experiment.is_null()) return lines;
  for (const ExperimentChange& change : by_component(changes(before, compared.experiment))) {
    lines.push_back(to_string(change));
  }
  return lines;
}

void tell_apart(Comparison& comparison) {
  std::vector<RunRecord*> runs;
  for (ComparedArm& arm : comparison.arms) {
    for (ComparedRun& run : arm.runs) {
      if (!run.problem.empty()) continue;
      runs.push_back(&run.record);
      for (Measure& measure : run.record.measures) {
        const std::string& name = measure.score;
        if (!measure.about.empty() || !(name.starts_with("loss.") || name.starts_with("statistic."))) continue;
        add_settings_of_mean(measure.measuring, name, arm.experiment);
      }
    }
  }
  tell_apart(runs);
}

std::vector<std::string> remarks(const Comparison& comparison, const std::vector<MeasureSummary>& measures) {
  std::vector<std::string> lines;
  std::size_t fewest = comparison.arms.empty() ? 0 : comparison.arms.front().successes();
  std::map<std::string, std::set<std::string>> warnings;  // with the arms that have them
  std::set<std::int64_t> lengths;
  for (const ComparedArm& arm : comparison.arms) {
    fewest = std::min(fewest, arm.successes());
    for (const ComparedRun& run : arm.runs) {
      if (!run.problem.empty()) lines.push_back(text(arm.name, ", seed ", run.seed, ": ", run.problem));
      if (run.problem.empty()) lengths.insert(run.record.images);
      for (const std::string& warning : run.record.warnings) warnings[warning].insert(arm.name);
    }
  }
  for (const MeasureSummary& measure : measures) {
    for (const ArmSummary& arm : measure.arms) {
      if (arm.difference && arm.difference->count > 0) fewest = std::min(fewest, arm.difference->count);
    }
  }
  const std::size_t first = lines.size();  // a problem may have several lines, which this program has printed
  add_lacking(comparison, measures, lines);
  for (const auto& [warning, arms] : warnings) {
    const bool is_of_all = arms.size() == comparison.arms.size();
    lines.push_back(is_of_all ? warning : text(join({arms.begin(), arms.end()}, ", "), ": ", warning));
  }
  for (std::string& line : unlike_runs(comparison)) lines.push_back(std::move(line));
  for (std::string& line : measured_otherwise(comparison)) lines.push_back(std::move(line));
  if (lengths.size() > 1) {
    lines.push_back(
        text("the runs have seen different numbers of images, from ", *lengths.begin(), " to ", *lengths.rbegin()));
  }
  if (fewest < 2) {
    lines.emplace_back("an arm or a difference with fewer than two seeds has no interval: its uncertainty is unknown");
  } else if (fewest < kFewSeeds) {
    lines.push_back(text("an interval over two seeds is ", significant(student_t_quantile(0.975, 1)),
                         " standard errors wide on each side; a third seed makes that ",
                         significant(student_t_quantile(0.975, 2))));
  }
  for (std::size_t i = first; i < lines.size(); ++i) lines[i] = one_line(lines[i]);
  return lines;
}

}  // namespace casdm
