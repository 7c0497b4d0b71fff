#include "framework/comparison/unlike_runs.h"

#include <algorithm>
#include <map>

#include "casdm/text.h"
#include "framework/config/experiment.h"
#include "framework/training/network_difference.h"

namespace casdm {

namespace {

const ComparedRun* first_used(const ComparedArm& arm) {
  const auto first =
      std::find_if(arm.runs.begin(), arm.runs.end(), [](const auto& run) { return run.problem.empty(); });
  return first == arm.runs.end() ? nullptr : &*first;
}

/// What the runs of an arm show beside its first one.
std::vector<std::string> unlike_seeds(const ComparedArm& arm) {
  std::vector<std::string> found;  // in the order in which they appear
  std::map<std::string, std::vector<std::string>> seeds;
  const ComparedRun* first = first_used(arm);
  for (const ComparedRun& run : arm.runs) {
    if (!run.problem.empty() || &run == first) continue;
    const std::string beside = text("seed ", first->seed);
    for (std::string& line : unlike(run.record.provenance, first->record.provenance, beside)) {
      seeds[line].push_back(std::to_string(run.seed));
      if (seeds[line].size() == 1) found.push_back(std::move(line));
    }
  }
  for (std::string& line : found) {
    const std::vector<std::string>& those = seeds[line];
    line = text(those.size() > 1 ? "seeds " : "seed ", join(those, ", "), ": ", line);
  }
  return found;
}

/// The file that [[init]] gives a module; empty: none.
std::string start_of(const Value& config, const std::string& module) {
  const Value* starts = config.find("init");
  for (const Value& start : starts != nullptr ? starts->as_array() : Value::Array()) {
    const auto options = read_options<InitOptions>(start);
    if (options.module == module) return options.from.string();
  }
  return "";
}

/// The provenance of a run without what its experiment chooses otherwise than another one.
Provenance comparable(const RunRecord& run, const RunRecord& other) {
  Provenance result = run.provenance;
  if (!changes(images_of(run.config), images_of(other.config)).empty()) result.data.reset();
  std::erase_if(result.start, [&](const auto& start) {
    return start_of(run.config, start.first) != start_of(other.config, start.first);
  });
  if (result.networks.is_table()) {
    result.networks = unchanged_networks(result.networks, run.config, other.config);
  }
  return result;
}

/// What the first run of an arm shows beside that of its baseline.
std::vector<std::string> unlike_baseline(const ComparedArm& arm, const ComparedArm& baseline) {
  const ComparedRun *run = first_used(arm), *other = first_used(baseline);
  if (&arm == &baseline || run == nullptr || other == nullptr) return {};
  return unlike(comparable(run->record, other->record), other->record.provenance, baseline.name);
}

/// Scores of one name that were computed by other builds of the judge or the metric than in the first run with it.
std::vector<std::string> unlike_judging(const Comparison& comparison) {
  struct First {
    std::string run;
    std::vector<UsedPlugin> plugins;
  };
  std::map<std::string, First> firsts;
  std::vector<std::string> found;  // in the order in which they appear
  std::map<std::string, std::vector<std::string>> runs;
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      if (!run.problem.empty()) continue;
      const std::string name = run.path.filename().string();
      for (const Measure& measure : run.record.measures) {
        if (measure.measuring.plugins.empty()) continue;
        const First& first = firsts.try_emplace(measure.name, First{name, measure.measuring.plugins}).first->second;
        const std::string builds = other_builds(measure.measuring.plugins, first.plugins);
        if (builds.empty()) continue;
        const std::string line = text("judged by other builds of plugins than ", first.run, ": ", builds);
        std::vector<std::string>& those = runs[line];
        if (those.empty()) found.push_back(line);
        if (those.empty() || those.back() != name) those.push_back(name);
      }
    }
  }
  for (std::string& line : found) line = text(join(runs[line], ", "), ": ", line);
  return found;
}

}  // namespace

std::vector<std::string> unlike_runs(const Comparison& comparison) {
  std::vector<std::string> found;
  std::map<std::string, std::vector<std::string>> arms;
  for (const ComparedArm& arm : comparison.arms) {
    std::vector<std::string> lines = unlike_seeds(arm);
    for (std::string& line : unlike_baseline(arm, comparison.arms[arm.baseline])) lines.push_back(std::move(line));
    for (std::string& line : lines) {
      arms[line].push_back(arm.name);
      if (arms[line].size() == 1) found.push_back(std::move(line));
    }
  }
  for (std::string& line : found) line = text(join(arms[line], ", "), ": ", line);
  for (std::string& line : unlike_judging(comparison)) found.push_back(std::move(line));
  return found;
}

}  // namespace casdm
