#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/cost_command.h"
#include "framework/commands/shipped_files.h"
#include "framework/composition/memory_advice.h"
#include "framework/composition/model.h"
#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/config/overrides.h"
#include "framework/config/void_options.h"
#include "framework/cost/precision_choice.h"
#include "framework/data/fingerprint.h"
#include "framework/device/device.h"
#include "framework/distributed/batch_share.h"
#include "framework/distributed/run_in_world.h"
#include "framework/distributed/same_experiment.h"
#include "framework/support/run_contents.h"
#include "framework/support/shell_word.h"
#include "framework/training/batch_draws.h"
#include "framework/training/checkpoint.h"
#include "framework/training/effect.h"
#include "framework/training/initial_weights.h"
#include "framework/training/metric_terms.h"
#include "framework/training/replaced_run.h"
#include "framework/training/resume.h"
#include "framework/training/run_folder.h"
#include "framework/training/signals.h"
#include "framework/training/trainer.h"
#include "framework/training/training_evaluation.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct TrainArguments {
  std::string config;
  std::string resume;
  std::vector<std::string> overrides;
  std::vector<std::string> plugins;
  bool dry_run = false;
  bool no_cost = false;
  bool overwrite = false;
  bool allow_rebuilt = false;
  bool allow_other_data = false;
};

constexpr const char* kTrainUsage = R"(usage: casdm train CONFIG [--set KEY=VALUE]... [--dry-run [--no-cost]]
       casdm train --resume RUN [--set KEY=VALUE]...

Trains the experiment of a TOML file in a new run folder, or continues a run from its newest
checkpoint, with the same experiment and, from then on, the changes of --set. Ctrl-C,
SIGTERM, SIGHUP and SIGUSR1 finish the step (or leave it between two of train.accumulate's
parts), save a checkpoint and exit with 0. Under torchrun, mpirun or srun all processes train one run.

  casdm train configs/quickstart.toml
  casdm train configs/cifar10_casdm_lpips.toml --set data.path=cifar10.tar.gz --set run.seed=1
  casdm train --resume runs/quickstart --set train.total_images=200k
)";

po::options_description described(TrainArguments& arguments) {
  po::options_description options("options");
  options.add_options()("config", po::value(&arguments.config), "the experiment file (also as the first argument)")(
      "set", po::value(&arguments.overrides)->composing(), "set one key of the experiment: train.batch_size=8")(
      "resume", po::value(&arguments.resume), "continue the run in this folder, or from one of its checkpoints")(
      "plugin", po::value(&arguments.plugins)->composing(), "an additional plugin library")(
      "dry-run", po::bool_switch(&arguments.dry_run),
      "open the data, build networks and metrics, print their sizes, and measure what a step costs, write nothing")(
      "no-cost", po::bool_switch(&arguments.no_cost), "with --dry-run: take no steps")(
      "overwrite", po::bool_switch(&arguments.overwrite),
      "replace the run of this name, if its folder holds nothing else; it is removed after the first step")(
      "allow-rebuilt", po::bool_switch(&arguments.allow_rebuilt),
      "continue even if a plugin was rebuilt since the checkpoint was saved")(
      "allow-other-data", po::bool_switch(&arguments.allow_other_data),
      "continue even if the data set, or the weights file of a metric, is not the one the checkpoint was trained with");
  return options;
}

/// Refuses options that cannot be combined.
void check(const TrainArguments& arguments) {
  if (arguments.config.empty() == arguments.resume.empty()) {
    throw ConfigError("train: give either an experiment file or --resume RUN; see `casdm train --help`");
  }
  const bool is_resume = !arguments.resume.empty();
  if (is_resume && (arguments.dry_run || arguments.overwrite)) {
    throw ConfigError(text("train: ", arguments.dry_run ? "--dry-run" : "--overwrite",
                           " is for a new run and does not go with --resume"));
  }
  if (arguments.no_cost && !arguments.dry_run) throw ConfigError("train: --no-cost is for --dry-run");
  if (!is_resume && (arguments.allow_rebuilt || arguments.allow_other_data)) {
    throw ConfigError(text("train: ", arguments.allow_rebuilt ? "--allow-rebuilt" : "--allow-other-data",
                           " is for --resume, not for a new run"));
  }
}

std::vector<fs::path> paths(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

/// Creates every component and returns a description of them. Throws what training would throw before its first step.
std::string compose(const LoadedExperiment& experiment) {
  return with_memory_advice(experiment.options, [&] {
    require_effect(experiment.resolved);
    for (const std::string& weak : weak_settings(experiment.options)) std::cerr << "warning: " << weak << '\n';
    const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
    const std::int64_t classes = experiment.options.data.use_labels ? dataset->num_classes() : 0;
    const Model model = make_model(experiment, classes, dataset);
    load_initial_weights(model, experiment);
    for (const auto& warnings : {idle_tables(model, experiment.options), left_at_random(model, experiment.options)}) {
      for (const std::string& warning : warnings) std::cerr << "warning: " << warning << '\n';
    }
    const ExperimentMetrics metrics(experiment, *model.schedule, c10::Device(c10::kCPU));
    const BatchDraws draws(experiment, model, c10::Device(c10::kCPU));
    if (const EvaluateOptions judged = evaluate_options(experiment.resolved); judged.every_images > 0) {
      const Judges judges(judged, *experiment.host, model.image, c10::Device(c10::kCPU));
      if (!judged.keep_best.empty()) judges.is_lower_better(judged.keep_best);
      require_reference(experiment.resolved);
      if (judged.reference.empty()) {
        judges.require_enough(judged.num, judged.reference_num > 0 ? judged.reference_num.value : dataset->size());
      }
    }
    return text("  data: ", describe(*dataset), "\n  networks: ", describe(model), '\n');
  });
}

/// What a step costs, or why it cannot be measured here: an experiment may be prepared on another machine than its own.
std::string cost_on_this_machine(const LoadedExperiment& experiment) {
  const RunOptions& run = experiment.options.run;
  try {
    require_precision(select_device(run).device, run.precision);
  } catch (const Error& error) {
    return text("the cost of a step cannot be measured here: ", error.what(), '\n');
  }
  return describe(measured_cost(experiment));
}

int finish(const TrainingEnd& end, const RunFolder& run) {
  if (end.is_complete) {
    const std::string folder = shell_word(run.path().string());
    std::cerr << "done: " << end.images << " images. Draw samples, judge them, and write a page about the run with\n"
              << "  casdm sample " << folder << " --num 64 --out samples\n  casdm evaluate " << folder
              << "\n  casdm report " << folder << '\n';
  } else {
    std::cerr << "stopped at " << end.images << " images; the state is saved. Continue with\n  casdm train --resume "
              << shell_word(run.path().string()) << '\n';
  }
  std::cout << run.path().string() << '\n';
  return 0;
}

void require_memory(const Experiment& options, const World& world) {
  require_memory_for_batch(options, share_of_batch(options.train, world).count, select_device(options.run).device);
}

/// with_chosen_precision, which may take steps.
LoadedExperiment precise(const LoadedExperiment& experiment, World& world) {
  return with_memory_advice(experiment.options, [&] { return with_chosen_precision(experiment, world); });
}

TrainingEnd trained(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start,
                    bool allow_other_data, World& world) {
  return with_memory_advice(experiment.options, [&] {
    require_memory(experiment.options, world);
    return train(experiment, run, std::move(start), allow_other_data, world);
  });
}

/// Runs in every process but the first.
int help(const LoadedExperiment& experiment, World& world) {
  with_memory_advice(experiment.options, [&] { return train_along(experiment, world); });
  return 0;
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

/// Throws ConfigError if a value of the experiment comes from a file in `folder`.
void refuse_values_from(const fs::path& folder, const Value& value) {
  const std::string& file = value.location().file;
  if (!file.empty() && fs::is_regular_file(file) && is_inside(file, folder)) {
    fail_at(value.location(), text("the experiment takes this from the run that --overwrite removes; choose another ",
                                   "run.name, or copy the file elsewhere"));
  }
  if (value.is_array()) {
    for (const Value& element : value.as_array()) refuse_values_from(folder, element);
  }
  if (value.is_table()) {
    for (const auto& [key, member] : value.as_table()) refuse_values_from(folder, member);
  }
}

/// Sets the run of this name aside, once everything has been checked that can be without training, and creates another.
RunFolder overwritten(const LoadedExperiment& experiment, const fs::path& folder) {
  for (const auto& [path, location] : paths_read(experiment.resolved, experiment.host->catalog())) {
    if (!is_inside(path, folder)) continue;
    fail_at(location,
            text(quoted(path), " belongs to the run that --overwrite removes; choose another run.name, or copy it ",
                 "elsewhere"));
  }
  refuse_values_from(folder, experiment.resolved);
  compose(experiment);
  return replace_run(folder, experiment.resolved);
}

int start_run(const TrainArguments& arguments, World& world) {
  LoadedExperiment experiment =
      load_experiment(or_shipped(arguments.config), arguments.overrides, paths(arguments.plugins));
  check_before_training(experiment.resolved, experiment.host->catalog());
  require_same(world, experiment.resolved);
  share_of_batch(experiment.options.train, world);
  if (!arguments.dry_run) experiment = precise(experiment, world);
  // Must come before a run is removed; otherwise the data are compared once they are created.
  if (arguments.overwrite && world.size() > 1) {
    require_same(world, fingerprint(*make_dataset(experiment), experiment.options.data), Value(Value::Table{}));
  }
  if (!world.is_first()) return arguments.dry_run ? 0 : help(experiment, world);
  const fs::path folder = experiment.options.run.directory / experiment.options.run.name;
  if (!fs::exists(folder / "config.toml")) refuse_inside_run("train", folder);
  if (arguments.dry_run) {
    const std::string components = compose(experiment);
    std::cout << experiment.options.run.name << ": the experiment is consistent\n" << components << std::flush;
    if (!arguments.no_cost) std::cout << cost_on_this_machine(experiment);
    return 0;
  }
  require_precision(select_device(experiment.options.run).device, experiment.options.run.precision);
  if (restore_replaced_run(folder)) {
    std::cerr << folder.string() << ".replaced, which an earlier --overwrite had set aside, is " << folder.string()
              << " again\n";
  }
  const bool replaces = arguments.overwrite && fs::exists(folder);
  RunFolder run = replaces ? overwritten(experiment, folder) : RunFolder::create(folder, experiment.resolved);
  run.lock();
  try {
    const TrainingEnd end = trained(experiment, run, std::nullopt, false, world);
    if (replaces && end.images == 0) {
      std::cerr << "no step was taken: the run to be replaced is kept as " << folder.string() << ".replaced\n";
    }
    return finish(end, run);
  } catch (...) {
    run.remove_if_unused();
    throw;
  }
}

/// Whether nothing is left to do: every image was seen, and the last grid was drawn and judged.
bool is_done(const RunFolder& run, const Checkpoint& checkpoint, const LoadedExperiment& experiment) {
  const Experiment& options = experiment.options;
  if (checkpoint.images() < options.train.total_images) return false;
  if (evaluate_options(experiment.resolved).every_images > 0 && !is_evaluated(run, checkpoint.images())) return false;
  return options.log.sample_count == 0 || fs::exists(run.samples() / text(checkpoint.images(), ".png"));
}

/// What is said when nothing is left to do after `checkpoint`.
std::string done_message(const RunFolder& run, const Checkpoint& checkpoint, bool has_overrides) {
  const std::string idle = has_overrides ? ", and --set has changed nothing" : "";
  const std::int64_t images = checkpoint.images(), newest = Checkpoint::open(run.path()).images();
  if (images == newest) {
    return text("the run is complete (", images, " images)", idle, ". To train on: --set train.total_images=N\n");
  }
  return text(checkpoint.path().string(), " is of ", images, " images, with which its training was complete. Nothing ",
              "is done: the run stays at ", newest, " images", idle, ". To train on from there, and set later ",
              "checkpoints aside: --set train.total_images=N\n");
}

/// The run that a checkpoint belongs to.
fs::path run_of(const fs::path& checkpoint) {
  fs::path run = run_of_checkpoint(checkpoint);
  if (!run.empty()) return run;
  throw ConfigError(
      text(checkpoint.string(), " is a checkpoint, but in the folder checkpoints/ of no run. Start a new run ",
           "from its weights: `casdm train CONFIG` with [[init]] from = ", to_toml_value(checkpoint.string()),
           "; or put it into checkpoints/ of a copy of its run"));
}

/// Sent by the first process instead of an experiment when the run to resume is already complete.
constexpr const char* kComplete = "complete";

/// Runs in every process but the first: trains with the experiment that the first one sends.
int help_resume(const TrainArguments& arguments, World& world) {
  const std::string found = world.take_from_first("");
  if (found == kComplete) return 0;
  if (found.starts_with('{')) {
    throw WorldConfigError("--resume: rank 0 begins a run and does not resume one; give all processes one command");
  }
  const Value document = parse_document(found, "the experiment of rank 0", fs::current_path());
  return help(resolve_experiment(document, paths(arguments.plugins)), world);
}

int resume_run(const TrainArguments& arguments, World& world) {
  if (!world.is_first()) return help_resume(arguments, world);
  const fs::path given = arguments.resume;
  const bool is_checkpoint = fs::exists(given / "state.json");
  RunFolder run = RunFolder::open(is_checkpoint ? run_of(given) : given);
  run.lock();
  std::optional<Checkpoint> checkpoint;
  try {
    checkpoint = Checkpoint::open(given);
  } catch (const NoCheckpoint&) {
    std::cerr << run.path().string() << " has no checkpoint yet: starting from the beginning\n";
  }
  Value document = checkpoint ? experiment_to_resume(run, *checkpoint, !is_checkpoint) : load_document(run.config());
  const Value before = checkpoint ? checkpoint->config() : document;
  apply_overrides(document, arguments.overrides);
  const LoadedExperiment experiment = precise(resolve_experiment(document, paths(arguments.plugins)), World::alone());
  check_lasting_keys(run, before, experiment.resolved, checkpoint.has_value());
  report_void_options(experiment.resolved, experiment.host->catalog());
  if (checkpoint) {
    if (arguments.allow_rebuilt) checkpoint->accept_plugins();
    if (is_done(run, *checkpoint, experiment)) {
      world.take_from_first(kComplete);
      // The training may have been killed before it removed old checkpoints.
      if (!is_checkpoint && arguments.overrides.empty()) {
        Checkpoint::remove_old(run, checkpoint->path(), experiment.options.checkpoint.keep_last,
                               [](const std::string& line) { std::cerr << "warning: " << line << '\n'; });
      }
      std::cerr << done_message(run, *checkpoint, !arguments.overrides.empty());
      std::cout << run.path().string() << '\n';
      return 0;
    }
    std::cerr << "continuing from " << checkpoint->path().string() << '\n';
  }
  world.take_from_first(to_toml(experiment.resolved));
  keep_replaced_run(run.path());
  return finish(trained(experiment, run, std::move(checkpoint), arguments.allow_other_data, world), run);
}

int train_command(const std::vector<std::string>& given) {
  TrainArguments arguments;
  if (!fill_arguments({"train", kTrainUsage, described(arguments), {"config"}}, given)) return 0;
  check(arguments);
  catch_signals();
  return run_in_world(
      "train",
      [&](World& world) {
        return arguments.resume.empty() ? start_run(arguments, world) : resume_run(arguments, world);
      },
      interrupted);
}

}  // namespace

}  // namespace casdm

int casdm_train_command(const std::vector<std::string>& arguments) { return casdm::train_command(arguments); }
