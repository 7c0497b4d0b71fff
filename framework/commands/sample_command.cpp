#include <algorithm>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/config/key_path.h"
#include "framework/device/device.h"
#include "framework/device/heap.h"
#include "framework/device/threads.h"
#include "framework/distributed/run_in_world.h"
#include "framework/reporting/progress.h"
#include "framework/sampling/run_sampler.h"
#include "framework/sampling/sample_folder.h"
#include "framework/sampling/shared_sampling.h"
#include "framework/support/exception_message.h"
#include "framework/support/run_contents.h"
#include "framework/training/checkpoint.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct SampleArguments : SamplingRequest {
  std::string run;
  std::string out;
  std::optional<std::int64_t> num;
  bool overwrite = false;
  bool no_png = false;
};

constexpr const char* kSampleUsage = R"(usage: casdm sample RUN --num N --out DIR [--sampler NAME] [--steps N] [--eta X]
                        [--guidance X]

Draws images from a run, or from one of its checkpoints, with its averaged weights. Writes
DIR/000000.png and so on, DIR/grid.png (the first 64), DIR/samples.npz (guided-diffusion's layout:
arr_0 uint8 NHWC, arr_1 labels) and DIR/sampling.json, which says what made them. The noise of an
image depends on the seed and its index alone.

Ctrl-C, SIGTERM and SIGHUP stop it within a step, with exit status 1. The same command continues
after the last complete batch, also after a crash; the result is that of an uninterrupted run.

  casdm sample runs/quickstart --num 64 --out samples
  casdm sample runs/quickstart --num 50000 --out many --no-png --steps 100 --eta 1
  casdm sample runs/quickstart --num 16 --out ancestral --sampler ddpm --set sampler.variance=fixed_small
)";

po::options_description described(SampleArguments& a) {
  po::options_description options("options");
  options.add_options()("run", po::value(&a.run), "the run folder or checkpoint (also as the first argument)")(
      "num", whole_number("num", a.num, 1, kMostSamples), "number of images")("out", po::value(&a.out),
                                                                              "folder to write to")(
      "sampler", unparsed(a.sampler, "NAME"), "another sampler than the run's; `casdm plugins list` shows them")(
      "steps", unparsed(a.steps, "N"),
      text("number of steps; short for --set sampler.", Sampler::steps_option, "=N").c_str())(
      "eta", unparsed(a.eta, "X"),
      text("noise of a step; short for --set sampler.", Sampler::eta_option, "=X").c_str())(
      "guidance", unparsed(a.guidance, "X"), "classifier-free guidance; short for --set guidance.scale=X")(
      "set", po::value(&a.overrides)->composing(), "set one key of the run's experiment: guidance.scale=1.5")(
      "seed", whole_number("seed", a.seed, 0), "seed of the images' noise; default: 0")(
      "batch", whole_number("batch", a.batch, 1, SamplingRequest::kLargestBatch),
      "images drawn at once; does not change their noise; default: 64")(
      "label", whole_number("label", a.label, 0),
      "class of all images, for a conditional run; default: each in turn, or that of the image whose extras are used")(
      "weights", po::value(&a.weights)->default_value("ema"),
      "ema, raw for the weights themselves, an average of [[ema.also]] by name, or a file of `casdm ema`")(
      "device", unparsed(a.device, "NAME"),
      "auto, cpu, cuda or cuda:1; short for --set run.device=NAME; default: auto")(
      "plugin", po::value(&a.plugins)->composing(), "an additional plugin library")(
      "no-png", po::bool_switch(&a.no_png), "write the grid and the NPZ only")(
      "overwrite", po::bool_switch(&a.overwrite), "replace the samples in DIR")(
      "allow-rebuilt", po::bool_switch(&a.allow_rebuilt), "sample even if a plugin was rebuilt since the checkpoint");
  return options;
}

/// An unfinished sampling continues with its own checkpoint as long as the run has it, even if there is a newer one.
Checkpoint open_checkpoint(const SampleArguments& a, const SampleFolder& folder) {
  std::error_code ignored;
  const fs::path whole = fs::path(a.run).has_filename() ? fs::path(a.run) : fs::path(a.run).parent_path();
  const fs::path owner = fs::is_symlink(whole, ignored) ? run_of_checkpoint(whole) : fs::path();
  const fs::path run = owner.empty() ? fs::path(a.run) : owner;
  const auto source = !owner.empty()                            ? SampleFolder::Source::best
                      : fs::exists(run / "state.json", ignored) ? SampleFolder::Source::checkpoint
                                                                : SampleFolder::Source::run;
  const std::string name = a.overwrite ? "" : folder.unfinished_checkpoint(source);
  const fs::path before = run / "checkpoints" / name;
  if (!name.empty() && fs::exists(before, ignored)) return Checkpoint::open(before);
  if (!name.empty() && fs::exists(run / "config.toml", ignored)) {
    std::cerr << text("the unfinished sampling in ", a.out, " was begun with the checkpoint ", name, ", which ",
                      run.string(), " does not have\n");
  }
  return Checkpoint::open(a.run);
}

/// Everything that determines the images.
Value settings_of(const LoadedExperiment& experiment, const Model& model, const Checkpoint& checkpoint,
                  const GenerateOptions& options, const SampleArguments& a) {
  Value settings = sampling_settings(experiment, model, checkpoint, options, a);
  settings.set("images", *a.num);
  settings.set("png", !a.no_png);
  add_conditions(settings, model, *a.num, label_of_image(checkpoint, model, a));
  return settings;
}

Sampling sampling_of(const Checkpoint& checkpoint, const Model& model, const GenerateOptions& options,
                     const SampleArguments& a, Value settings) {
  Sampling sampling{*a.num, options.channels, options.image_size, !a.no_png, {}, {}, std::move(settings)};
  sampling.label = label_of_image(checkpoint, model, a);
  const Value::Table source = {{"path", checkpoint.path().string()}, {"images", checkpoint.images()}};
  sampling.origin = Value(Value::Table{{"run", a.run}, {"checkpoint", Value(source)}});
  return sampling;
}

/// Draws the images that the folder lacks, batch by batch. A continued sampling uses the same batches as an
/// uninterrupted one.
void draw(SharedSampling& drawing, const Sampling& sampling, std::int64_t steps, CpuThreads& threads,
          SampleFolder& folder) {
  Progress progress("sampling", sampling.count * steps, "image steps", folder.images() * steps);
  progress.say(threads.describe());
  while (folder.images() < sampling.count) {
    const std::int64_t first = folder.images(), count = std::min(drawing.at_once(), sampling.count - first);
    folder.add(drawing.draw(first, sampling.count, [&](std::size_t step, std::size_t) {
      threads.update();
      progress.update(first * steps + count * static_cast<std::int64_t>(step));
    }));
  }
  folder.finish();
}

void sample(const SampleArguments& a, World& world) {
  refuse_inside_run("sample", a.out);
  SampleFolder folder(a.out);
  Checkpoint checkpoint = open_checkpoint(a, folder);
  const LoadedExperiment experiment = experiment_to_sample(checkpoint, a);
  const SelectedDevice device = select_device(experiment.options.run);
  const GenerateOptions options = generate_options(experiment.options, device.device, a);
  std::int64_t asked = experiment.options.run.threads;
  if (asked == 0 && (!a.overwrite || folder.is_unfinished())) asked = folder.earlier_threads();
  asked = world.threads(asked);
  // The same for all images, since their last bits depend on it.
  CpuThreads threads(asked > 0 ? asked : CpuThreads(0).count());
  const Model model = model_to_sample(experiment, checkpoint, a, options.device);
  const Value settings = settings_of(experiment, model, checkpoint, options, a);
  if (const std::string warning = warning_of(settings); !warning.empty()) std::cerr << "warning: " << warning << '\n';
  const Sampling sampling = sampling_of(checkpoint, model, options, a, settings);
  const std::string remark = folder.begin(sampling, a.overwrite);
  if (!remark.empty()) std::cerr << remark << '\n';
  try {
    if (!folder.is_complete()) {
      std::cerr << "device: " << device.description << '\n';
      SharedSampling drawing(model, options, sampling.label, a.batch_size(), world);
      drawing.invite(checkpoint, a, sampling_settings(experiment, model, checkpoint, options, a));
      const auto steps = static_cast<std::int64_t>(model.sampler.call(&Sampler::plan).size());
      draw(drawing, sampling, steps, threads, folder);
    }
  } catch (const SamplingCancelled&) {
    throw Error(text("sampling was stopped after ", folder.images(), " of ", sampling.count,
                     " images. The same command", a.overwrite ? " without --overwrite" : "", " continues from there"));
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    if (a.batch_size() == 1) throw;
    throw OutOfMemory(text(exception_message(error), ". A smaller --batch than ", a.batch_size(), " needs less"));
  }
  std::cout << folder.grid().string() << '\n';
}

int sample_command(const std::vector<std::string>& arguments) {
  SampleArguments a;
  a.command = "sample";
  if (!fill_arguments({"sample", kSampleUsage, described(a), {"run"}}, arguments)) return 0;
  if (a.run.empty() || a.out.empty() || !a.num) {
    throw ConfigError("sample: give a run, --num N and --out DIR; see `casdm sample --help`");
  }
  catch_signals();
  keep_freed_memory();
  return run_in_world(
      "sample",
      [&](World& world) {
        if (!world.is_first()) return help_sampling(world), 0;
        return world.on_first([&] { sample(a, world); }), 0;
      },
      interrupted);
}

}  // namespace

}  // namespace casdm

int casdm_sample_command(const std::vector<std::string>& arguments) { return casdm::sample_command(arguments); }
