#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <numeric>
#include <thread>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/shipped_files.h"
#include "framework/comparison/result_files.h"
#include "framework/comparison/sweep_plan.h"
#include "framework/comparison/sweep_runner.h"
#include "framework/comparison/tables.h"
#include "framework/config/cross_checks.h"
#include "framework/config/key_path.h"
#include "framework/config/void_options.h"
#include "framework/loading/discovery.h"
#include "framework/loading/lock.h"
#include "framework/loading/trusted_path.h"
#include "framework/report/report.h"
#include "framework/report/written_page.h"
#include "framework/support/files.h"
#include "framework/support/shell_word.h"
#include "framework/training/effect.h"
#include "framework/training/signals.h"

namespace casdm {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSweepCommand = "sweep";
constexpr const char* kSweepUsage = R"(usage: casdm sweep SWEEP.toml [--dry-run] [--jobs N] [--set KEY=VALUE]...
       casdm sweep SWEEP.toml --print | --slurm
       casdm sweep SWEEP.toml --cell NAME

Trains every arm of a sweep with every seed, each as an ordinary run in its own process, and
compares them: means over seeds, and paired differences to the baseline with their intervals. First
it prints the plan with the time that a short pilot of each arm suggests; --dry-run stops there.

Ctrl-C and SIGTERM stop it cleanly. The same command continues: complete runs are kept, started ones
are resumed bit for bit, failed ones tried again. The result is in DIR/NAME of the file: results.csv,
results.json, results.md, results.tex and report.html. Exit status 1: a run failed, or it was
stopped.

  casdm sweep configs/study/quick.toml --dry-run
  casdm sweep configs/study/quick.toml
  casdm sweep configs/study/quick.toml --slurm > quick.sbatch && sbatch quick.sbatch
)";

struct SweepArguments {
  std::string file;
  std::string cell;
  std::vector<std::string> overrides, plugins, patterns;
  std::optional<std::int64_t> jobs, processes;
  bool dry_run = false;
  bool no_pilot = false;
  bool print = false;
  bool slurm = false;
  bool json = false;
};

po::options_description described(SweepArguments& a) {
  po::options_description options("options");
  options.add_options()("file", po::value(&a.file), "the sweep file (also as the first argument)")(
      "dry-run", po::bool_switch(&a.dry_run), "print the plan and stop")(
      "no-pilot", po::bool_switch(&a.no_pilot), "plan without a pilot, and so without an estimate of the time")(
      "jobs", whole_number("jobs", a.jobs, 1, 1024), "runs at a time; they share the CPUs; default: 1")(
      "processes", whole_number("processes", a.processes, 1, 1024), "processes that share each run; default: 1")(
      "set", po::value(&a.overrides)->composing()->value_name("KEY=VALUE"), "set one key in every run; repeatable")(
      "plugin", po::value(&a.plugins)->composing()->value_name("FILE"), "an additional plugin library")(
      "measure", po::value(&a.patterns)->composing()->value_name("PATTERN"),
      "numbers to show, such as 'loss.*'; repeatable; see `casdm compare --help`")(
      "print", po::bool_switch(&a.print), "print a command for each incomplete run, one per line")(
      "slurm", po::bool_switch(&a.slurm), "print a job array script for Slurm; --jobs limits how many run at a time")(
      "cell", po::value(&a.cell)->value_name("NAME"), "train only this run; --print and --slurm use it")(
      "json", po::bool_switch(&a.json), "print the results as JSON, like results.json");
  return options;
}

/// The available components, looked up once for each set of `[plugins] paths`.
class Catalogs {
 public:
  explicit Catalogs(const std::vector<std::string>& plugins) : files_(plugins.begin(), plugins.end()) {}

  const PluginCatalog& of(const Value& document) {
    const std::vector<fs::path> paths = plugin_paths(document);
    const auto known = catalogs_.find(paths);
    if (known != catalogs_.end()) return known->second;
    SearchPaths search;
    search.files = files_;
    search.config = paths;
    PluginCatalog catalog = PluginCatalog::discover(search);
    catalog.require_files();
    return catalogs_.emplace(paths, std::move(catalog)).first->second;
  }

 private:
  std::vector<fs::path> files_;
  std::map<std::vector<fs::path>, PluginCatalog> catalogs_;
};

std::vector<std::string> repeated(const SweepArguments& a) {
  std::vector<std::string> command{own_program().string(), kSweepCommand,
                                   fs::absolute(a.file).lexically_normal().string()};
  for (const std::string& setting : a.overrides) command.insert(command.end(), {"--set", setting});
  for (const std::string& file : a.plugins) {
    command.insert(command.end(), {"--plugin", fs::absolute(file).lexically_normal().string()});
  }
  if (a.processes) command.insert(command.end(), {"--processes", std::to_string(*a.processes)});
  if (is_safe_mode()) command.emplace_back("--safe-mode");
  if (trusts_plugins()) command.emplace_back("--trust-plugins");
  return command;
}

std::string shell_line(const std::vector<std::string>& command) {
  std::vector<std::string> quoted;
  for (const std::string& word : command) quoted.push_back(shell_word(word));
  return join(quoted, " ");
}

std::vector<std::size_t> cells_to_do(const Sweep& sweep) {
  std::vector<std::size_t> cells;
  for (std::size_t i = 0; i < sweep.cells.size(); ++i) {
    if (state_of(sweep, sweep.cells[i]) != CellState::complete) cells.push_back(i);
  }
  return cells;
}

std::string commands_of(const Sweep& sweep, const SweepArguments& a) {
  std::string lines;
  const std::string there = text("cd ", shell_word(fs::current_path().string()), " && ");
  for (const std::size_t cell : cells_to_do(sweep)) {
    std::vector<std::string> command = repeated(a);
    command.insert(command.end(), {"--cell", sweep.cells[cell].name});
    lines += text(there, shell_line(command), "\n");
  }
  return lines;
}

std::string slurm_script(const Sweep& sweep, const SweepArguments& a) {
  const std::vector<std::size_t> cells = cells_to_do(sweep);
  if (cells.empty()) throw ConfigError("sweep: every run is complete, so there is nothing to submit");
  std::vector<std::string> names;
  for (const std::size_t cell : cells) names.push_back(shell_word(sweep.cells[cell].name));
  const std::string here = fs::current_path().string();
  return text("#!/bin/bash\n#SBATCH --job-name=", shell_word(sweep.name), "\n#SBATCH --array=0-", cells.size() - 1,
              a.jobs ? text("%", *a.jobs) : "", "\n#SBATCH --requeue\n",
              "# Two minutes before the time is up the run saves its state; it continues when submitted again.\n",
              "#SBATCH --signal=B:TERM@120\nset -eu\ncd ", shell_word(here), "\ncells=(", join(names, " "), ")\nexec ",
              shell_line(repeated(a)), " --cell \"${cells[$SLURM_ARRAY_TASK_ID]}\"\n");
}

std::size_t cell_named(const Sweep& sweep, const std::string& name) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < sweep.cells.size(); ++i) {
    if (sweep.cells[i].name == name) return i;
    names.push_back(sweep.cells[i].name);
  }
  const std::vector<std::string> near = nearest(name, names, 1);
  throw ConfigError(text("--cell ", quoted(name), ": the sweep has no such run; ",
                         near.empty() ? "--print lists them" : text("did you mean ", quoted(near.front()), "?")));
}

SweepSettings settings_of(const SweepArguments& a) {
  SweepSettings settings;
  settings.jobs = a.jobs.value_or(1);
  settings.processes = a.processes.value_or(1);
  for (const std::string& file : a.plugins) settings.options.insert(settings.options.end(), {"--plugin", file});
  // Otherwise the number of threads, and with it the last bits, would depend on what else is running.
  const std::int64_t beside = settings.jobs * settings.processes;
  if (beside > 1 && ::getenv("OMP_NUM_THREADS") == nullptr) {
    const auto threads = static_cast<std::int64_t>(std::thread::hardware_concurrency()) / beside;
    settings.environment["OMP_NUM_THREADS"] = std::to_string(std::max<std::int64_t>(1, threads));
  }
  return settings;
}

SweepPlan planned(const Sweep& sweep, const SweepArguments& a, const SweepSettings& settings) {
  return plan_of(sweep, [&](const SweepCell& cell) {
    if (a.no_pilot || interrupted()) return Pilot{};
    std::cerr << "pilot: " << sweep.points[cell.point].name << '\n';
    return pilot_of(sweep, cell, settings);
  });
}

/// A pattern without a match is found only after hours of training, so all measures are shown instead of none.
std::vector<MeasureSummary> measures_of(const std::vector<MeasureSummary>& all,
                                        const std::vector<std::string>& patterns) {
  try {
    return chosen_measures(all, patterns);
  } catch (const ConfigError& error) {
    std::cerr << "warning: " << error.what() << '\n';
    return chosen_measures(all, {});
  }
}

fs::path page_of(const Sweep& sweep) { return sweep.folder / "report.html"; }

/// Throws what every training would throw at once, for those of `cells` that are still to be started.
void check_cells(const Sweep& sweep, const std::vector<std::size_t>& cells, std::int64_t processes,
                 const std::function<const PluginCatalog&(const Value&)>& catalog_of) {
  for (const std::size_t index : cells) {
    const SweepCell& cell = sweep.cells[index];
    if (state_of(sweep, cell) != CellState::waiting) continue;
    const PluginCatalog& catalog = catalog_of(cell.experiment);
    for (const FoundPlugin* plugin : plugins_of(cell.experiment, catalog)) require_consent(*plugin);
    try {
      check_before_training(cell.experiment, catalog);
      require_effect(cell.experiment);
      const std::int64_t batch = find_path(cell.experiment, "train.batch_size")->as_integer();
      if (batch % processes == 0) continue;
      throw ConfigError(text("train.batch_size: --processes ", processes, " cannot share ", batch,
                             " images equally; choose a number that divides it"));
    } catch (const ConfigError& error) {
      const bool has_runs = std::any_of(sweep.cells.begin(), sweep.cells.end(), [&](const SweepCell& other) {
        return other.point == cell.point && state_of(sweep, other) != CellState::waiting;
      });
      const bool is_idle = has_runs && !void_options(cell.experiment, catalog).empty();
      throw ConfigError(text("arm ", quoted(sweep.points[cell.point].name), ": ", error.what(),
                             is_idle ? "\nTake options without effect out of the sweep's file: the runs that the arm "
                                       "has with them are kept"
                                     : ""));
    }
  }
}

/// Throws now what would otherwise be found after hours of training.
void check_results(const Sweep& sweep) {
  refuse_other_results(sweep.folder, {}, kSweepCommand, Replaced::unedited);
  refuse_other_page(kSweepCommand, page_of(sweep));
}

int finish(const Sweep& sweep, const SweepEnd& end, const SweepArguments& a) {
  const Comparison comparison = read_sweep(sweep.folder);
  const std::vector<MeasureSummary> all = summarise(comparison);
  const std::vector<MeasureSummary> chosen = measures_of(all, a.patterns);
  check_results(sweep);
  write_results(sweep.folder, comparison, all, chosen, kSweepCommand, Replaced::unedited);
  std::cout << (a.json ? json_of(comparison, all) : printable(text_of(comparison, chosen)));
  write_file(page_of(sweep), report_of(sweep.folder));
  std::cerr << "the tables are " << (sweep.folder / "results.md").string() << ", .tex, .csv and .json; the page is "
            << page_of(sweep).string() << "\n";
  if (end.is_stopped) std::cerr << "stopped; the same command continues\n";
  if (end.failed > 0) std::cerr << end.failed << (end.failed == 1 ? " run" : " runs") << " failed; see above\n";
  return end.is_stopped || end.failed > 0 ? 1 : 0;
}

void check(const SweepArguments& a) {
  if (a.file.empty()) throw ConfigError("sweep: give a sweep file; see `casdm sweep --help`");
  const int modes = int{a.dry_run} + int{a.print} + int{a.slurm} + int{!a.cell.empty()};
  if (modes > 1) throw ConfigError("sweep: --dry-run, --print, --slurm and --cell exclude each other");
  if (a.json && modes > 0) {
    throw ConfigError("sweep: --json prints the results, which --dry-run, --print, --slurm and --cell do not have");
  }
  const bool is_whole = a.dry_run || modes == 0;
  if (!a.patterns.empty() && !is_whole) {
    throw ConfigError("sweep: --measure chooses among the results, which --print, --slurm and --cell do not have");
  }
  if (a.no_pilot && !is_whole) {
    throw ConfigError("sweep: --no-pilot is for the plan, which --print, --slurm and --cell do not make");
  }
  if (a.jobs && a.print) {
    throw ConfigError("sweep: --jobs does not go with --print: how many of the commands run at a time is up to you");
  }
}

}  // namespace

int sweep_command(const std::vector<std::string>& arguments) {
  SweepArguments a;
  if (!fill_arguments({kSweepCommand, kSweepUsage, described(a), {"file"}}, arguments)) return 0;
  check(a);
  a.file = or_shipped(a.file);
  Catalogs catalogs(a.plugins);
  const auto catalog_of = [&](const Value& document) -> const PluginCatalog& { return catalogs.of(document); };
  const Sweep sweep = load_sweep(a.file, a.overrides, catalog_of);
  const SweepSettings settings = settings_of(a);
  check_sweep_folder(sweep, catalog_of);
  if (a.cell.empty()) check_results(sweep);
  if (a.print || a.slurm) {
    std::cout << (a.print ? commands_of(sweep, a) : slurm_script(sweep, a));
    return 0;
  }
  std::vector<std::size_t> cells(sweep.cells.size());
  std::iota(cells.begin(), cells.end(), std::size_t{0});
  if (!a.cell.empty()) cells = {cell_named(sweep, a.cell)};
  check_cells(sweep, cells, settings.processes, catalog_of);
  catch_signals();
  if (a.dry_run) {
    std::cout << text_of(sweep, planned(sweep, a, settings), settings.jobs);
    return interrupted() ? 1 : 0;
  }
  if (!a.cell.empty()) {
    const SweepLock lock(sweep.folder, SweepLock::Kind::of_a_cell);
    prepare_sweep_folder(sweep, catalog_of, lock, cells);
    const SweepEnd end = run_sweep(sweep, cells, settings);
    return end.is_stopped || end.failed > 0 ? 1 : 0;
  }
  const SweepLock lock(sweep.folder, SweepLock::Kind::of_the_sweep);
  prepare_sweep_folder(sweep, catalog_of, lock, cells);
  std::cerr << text_of(sweep, planned(sweep, a, settings), settings.jobs);
  return finish(sweep, run_sweep(sweep, cells, settings), a);
}

}  // namespace casdm
