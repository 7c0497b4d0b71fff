#include "framework/comparison/sweep_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/comparison/recorded_plan.h"
#include "framework/comparison/sweep_evaluation.h"
#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/key_path.h"
#include "framework/config/overrides.h"
#include "framework/config/void_options.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "framework/training/experiment_change.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostShownChanges = 5;
constexpr std::size_t kLargestRecord = 1 << 20;

using CatalogOf = std::function<const ComponentCatalog&(const Value&)>;

bool is_taken(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// The images of the newest checkpoint; 0 if there is none.
std::int64_t images_saved(const fs::path& run) {
  std::int64_t images = 0;
  std::error_code failure;
  for (fs::directory_iterator entry(run / "checkpoints", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    const bool is_checkpoint = name.size() == 12 && name.find_first_not_of("0123456789") == std::string::npos;
    if (is_checkpoint && is_taken(entry->path() / "state.json")) {
      images = std::max<std::int64_t>(images, std::stoll(name));
    }
  }
  return images;
}

std::int64_t number_in(const Value& experiment, const char* key) {
  const Value* value = find_path(experiment, key);
  return value == nullptr ? 0 : value->as_integer();
}

/// Whether the run has what the cell leaves to the machine.
bool is_chosen(const ExperimentChange& change) {
  return change.key == "run.precision" && change.after == Value(std::string(to_string(Precision::automatic)));
}

/// Throws ConfigError unless the run with a cell's name has the cell's experiment.
void check_run(const fs::path& run, const SweepCell& cell, const Homes& homes, const CatalogOf& catalog_of) {
  const auto taken = [&](const std::string& why) {
    throw ConfigError(
        text(run.string(), " ", why, ". Rename the arm or the sweep, or move it away; nothing was changed"));
  };
  if (!is_taken(run)) return;
  if (!is_taken(run / "config.toml")) taken("exists and is not a run folder");
  Value before = load_document(run / "config.toml");
  std::vector<VoidOption> idle;
  try {
    before = checked_experiment(before, schema_of<Experiment>(), catalog_of(before));
    idle = void_options(before, catalog_of(before));
  } catch (const ConfigError&) {
    // If it can no longer be resolved, it is compared as it is.
  }
  std::vector<ExperimentChange> others = changes(experiment_of(before), experiment_of(cell.experiment));
  // What had no effect can be taken out: an earlier version has trained with it, and this one refuses it.
  std::erase_if(others, [&](const ExperimentChange& change) {
    return std::any_of(idle.begin(), idle.end(),
                       [&](const VoidOption& option) { return is_at_or_below(change.key, option.key); });
  });
  std::erase_if(others, [&](const ExperimentChange& change) { return homes.is_moved(change) || is_chosen(change); });
  std::vector<std::string> changed;
  for (const ExperimentChange& change : by_component(others)) changed.push_back(to_string(change));
  const Value* seed = find_path(before, "run.seed");
  if (seed != nullptr && *seed != Value(cell.seed))
    changed.push_back(text("run.seed: ", to_toml_value(*seed), " -> ", cell.seed));
  if (changed.empty()) return;
  const std::size_t more = changed.size() - std::min(changed.size(), kMostShownChanges);
  changed.resize(changed.size() - more);
  taken(text("is a run of another experiment: ", join(changed, "; "),
             more > 0 ? text("; and ", more, " more keys") : ""));
}

void write_if_other(const fs::path& file, const std::string& content) {
  if (!is_taken(file) || read_file(file) != content) write_file(file, content);
}

const Value& member(const Value& table, const char* key) {
  const Value* value = table.find(key);
  if (value == nullptr) throw Error(text("it has no '", key, "'"));
  return *value;
}

/// The record of how a cell ended; null if there is none.
Value end_of(const fs::path& folder, const std::string& cell) {
  const fs::path file = folder / "cells" / (cell + ".json");
  return is_taken(file) ? from_json(read_regular_file(file, kLargestRecord)) : Value();
}

std::string failure_of(const fs::path& folder, const std::string& cell) {
  try {
    const Value end = end_of(folder, cell);
    const Value* problem = end.find("problem");
    return problem == nullptr || problem->is_null() ? "" : problem->as_string();
  } catch (const Error& error) {
    return text("its record cannot be read: ", error.what());
  }
}

/// The names of the records of a run's evaluations.
std::vector<std::string> evaluations_in(const fs::path& run) {
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::directory_iterator entry(run / "evaluation", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (entry->path().extension() == ".json") names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Whether the cell was evaluated as the sweep asks, and the results are there: the run may have been replaced by
/// another of that name. An unreadable record counts as none.
bool is_evaluated(const Sweep& sweep, const SweepCell& cell) {
  if (!sweep.evaluate) return true;
  try {
    const Value end = end_of(sweep.folder, cell.name);
    const Value* evaluated = end.find("evaluated");
    const Value* records = end.find("records");
    if (evaluated == nullptr || *evaluated != evaluation_of(sweep) || records == nullptr) return false;
    const std::vector<std::string> there = evaluations_in(run_of(sweep, cell));
    const Value::Array& wanted = records->as_array();
    return !wanted.empty() && std::all_of(wanted.begin(), wanted.end(), [&](const Value& name) {
      return std::find(there.begin(), there.end(), name.as_string()) != there.end();
    });
  } catch (const Error&) {
    return false;
  }
}

ComparedRun compared_run(const fs::path& folder, const std::string& cell, std::int64_t seed) {
  ComparedRun run{seed, folder / cell, failure_of(folder, cell), {}};
  if (!run.problem.empty()) run.problem = "failed: " + run.problem;
  const bool has_run = is_taken(run.path / "config.toml");
  if (has_run) run.record = read_run_record(run.path);
  if (!run.problem.empty()) return run;
  if (!has_run) run.problem = "not started";
  if (has_run && !run.record.is_complete()) {
    run.problem = text("not complete: ", run.record.images, " of ", run.record.total_images, " images");
  }
  return run;
}

Comparison comparison_of(const fs::path& folder, const Value& plan) {
  Comparison comparison;
  comparison.title = member(plan, "name").as_string();
  const Value::Array& points = member(plan, "arms").as_array();
  for (const Value& point : points) {
    const std::int64_t baseline = member(point, "baseline").as_integer();
    if (baseline < 0 || baseline >= static_cast<std::int64_t>(points.size())) throw Error("an arm has no baseline");
    comparison.arms.push_back({member(point, "name").as_string(), static_cast<std::size_t>(baseline), {}, {}});
  }
  for (const Value& cell : member(plan, "cells").as_array()) {
    const std::int64_t point = member(cell, "arm").as_integer();
    const std::string& name = member(cell, "name").as_string();
    const bool is_plain = name.find('/') == std::string::npos && name != ".." && !name.empty();
    if (point < 0 || point >= static_cast<std::int64_t>(points.size()) || !is_plain) throw Error("a cell has no arm");
    ComparedArm& arm = comparison.arms[static_cast<std::size_t>(point)];
    arm.runs.push_back(compared_run(folder, name, member(cell, "seed").as_integer()));
    const Value& config = arm.runs.back().record.config;
    if (arm.experiment.is_null() && !config.is_null()) arm.experiment = experiment_of(config);
  }
  const Homes homes = homes_of(folder, plan);
  for (ComparedArm& arm : comparison.arms) {
    const Value& baseline = comparison.arms[arm.baseline].experiment;
    if (homes.earlier.empty() || baseline.is_null() || arm.experiment.is_null()) continue;
    for (const ExperimentChange& change : changes(baseline, arm.experiment)) {
      if (!homes.is_moved(change)) continue;
      apply_overrides(arm.experiment, {text(change.key, "=", to_toml_value(change.before))});
    }
  }
  tell_apart(comparison);
  return comparison;
}

/// Whether a folder without sweep.json contains more than another process may be creating there right now.
bool holds_others(const fs::path& folder) {
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(".tmp-") && name != "cells" && name != "logs") return true;
  }
  return is_taken(folder) && !fs::is_directory(folder, failure);
}

}  // namespace

bool is_sweep_folder(const fs::path& folder) { return is_taken(folder / kPlanFile); }

void check_sweep_folder(const Sweep& sweep, const CatalogOf& catalog_of) {
  refuse_inside_run("sweep", sweep.folder);
  if (is_sweep_folder(sweep.folder) ? !has_plan(sweep.folder) : holds_others(sweep.folder)) {
    throw ConfigError(
        text(sweep.folder.string(), " exists and is not the folder of a sweep; give the sweep another name"));
  }
  const Homes homes = homes_of(sweep);
  for (const SweepCell& cell : sweep.cells) check_run(run_of(sweep, cell), cell, homes, catalog_of);
}

void prepare_sweep_folder(const Sweep& sweep, const CatalogOf& catalog_of, const SweepLock&,
                          const std::vector<std::size_t>& cells) {
  check_sweep_folder(sweep, catalog_of);
  for (const char* name : {"cells", "logs"}) {
    fs::create_directories(sweep.folder / name);
    remove_leftovers(sweep.folder / name);
  }
  remove_leftovers(sweep.folder);
  write_if_other(sweep.folder / kPlanFile, to_json(recorded_plan(sweep), 2) + "\n");
  for (const std::size_t cell : cells) {
    write_if_other(experiment_file_of(sweep, sweep.cells[cell]), to_toml(sweep.cells[cell].experiment));
  }
}

CellState state_of(const Sweep& sweep, const SweepCell& cell) {
  const fs::path run = run_of(sweep, cell);
  if (!is_taken(run)) return CellState::waiting;
  const std::int64_t images = images_saved(run);
  const bool is_trained = images >= number_in(cell.experiment, "train.total_images") && images > 0;
  const bool is_drawn =
      number_in(cell.experiment, "log.sample_count") == 0 || is_taken(run / "samples" / text(images, ".png"));
  const bool is_judged =
      number_in(cell.experiment, "evaluate.every_images") == 0 || !last_line(run, "evaluation", images).is_null();
  if (!is_trained || !is_drawn || !is_judged) return CellState::started;
  return is_evaluated(sweep, cell) ? CellState::complete : CellState::trained;
}

std::vector<std::string> moved_paths(const Sweep& sweep, const SweepCell& cell) {
  const fs::path config = run_of(sweep, cell) / "config.toml";
  std::vector<std::string> settings;
  const Homes homes = homes_of(sweep);
  if (homes.earlier.empty() || !is_taken(config)) return settings;
  for (const ExperimentChange& change : changes(experiment_of(load_document(config)), experiment_of(cell.experiment))) {
    if (homes.is_moved(change)) settings.push_back(text(change.key, "=", to_toml_value(change.after)));
  }
  return settings;
}

fs::path run_of(const Sweep& sweep, const SweepCell& cell) { return sweep.folder / cell.name; }
fs::path experiment_file_of(const Sweep& sweep, const SweepCell& cell) {
  return sweep.folder / "cells" / (cell.name + ".toml");
}
fs::path log_of(const Sweep& sweep, const SweepCell& cell) { return sweep.folder / "logs" / (cell.name + ".log"); }

void note_end(const Sweep& sweep, const SweepCell& cell, const std::string& problem) {
  Value record{Value::Table{}};
  record.set("problem", problem.empty() ? Value() : Value(problem));
  record.set("evaluated", problem.empty() ? evaluation_of(sweep) : Value());
  if (problem.empty() && sweep.evaluate) {
    const std::vector<std::string> records = evaluations_in(run_of(sweep, cell));
    record.set("records", Value::Array(records.begin(), records.end()));
  }
  write_if_other(sweep.folder / "cells" / (cell.name + ".json"), to_json(record) + "\n");
}

Comparison read_sweep(const fs::path& folder) {
  if (!is_sweep_folder(folder)) {
    throw ConfigError(text(folder.string(), " is not the folder of a sweep: it holds no ", kPlanFile));
  }
  try {
    return comparison_of(folder, read_plan(folder));
  } catch (const Error& error) {
    throw Error(text((folder / kPlanFile).string(), " cannot be used: ", error.what()));
  }
}

SweepLock::SweepLock(const fs::path& folder, Kind kind) {
  fs::create_directories(folder);
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0) throw Error(text(folder.string(), " cannot be opened: ", std::strerror(errno)));
  // A file system without locks: other processes cannot be detected.
  const int operation = kind == Kind::of_a_cell ? LOCK_SH : LOCK_EX;
  if (::flock(descriptor_, operation | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  throw Error(text("another `casdm sweep` is working in ", folder.string(), ". Wait until it ends, or end it"));
}

SweepLock::~SweepLock() { ::close(descriptor_); }

}  // namespace casdm
