#include <ATen/ATen.h>

#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/composition/model.h"
#include "framework/config/document.h"
#include "framework/config/overrides.h"
#include "framework/data/image_transform.h"
#include "framework/device/device.h"
#include "framework/reporting/image_files.h"
#include "framework/reporting/progress.h"
#include "framework/sampling/generate.h"
#include "framework/training/checkpoint.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct SampleArguments {
  std::string run;
  std::string out;
  std::string weights = "ema";
  std::string device = "auto";
  std::optional<std::string> sampler;
  std::optional<std::string> steps;
  std::optional<std::string> eta;
  std::optional<std::string> guidance;
  std::vector<std::string> overrides;
  std::vector<std::string> plugins;
  std::optional<std::int64_t> num;
  std::optional<std::int64_t> batch;
  std::optional<std::int64_t> label;
  std::optional<std::int64_t> seed;
  bool overwrite = false;
  bool no_png = false;
  bool allow_rebuilt = false;
};

constexpr const char* kUsage = R"(usage: casdm sample RUN --num N --out DIR [--sampler NAME] [--steps N] [--eta X]
                        [--guidance X]

Draws images from a run, or from one of its checkpoints, with its averaged weights. Writes
DIR/000000.png and on, DIR/grid.png (the first 64) and DIR/samples.npz (guided-diffusion's layout:
arr_0 uint8 NHWC, arr_1 labels). The noise of an image depends on the seed and its index alone.

  casdm sample runs/quickstart --num 64 --out samples
  casdm sample runs/quickstart --num 50000 --out many --no-png --steps 100 --eta 1
  casdm sample runs/quickstart --num 16 --out ancestral --sampler ddpm --set sampler.variance=fixed_small
)";

constexpr std::int64_t kGridImages = 64;
constexpr std::int64_t kMostImages = 1000000000;
constexpr std::int64_t kLargestBatch = 1 << 20;

/// An option whose words go on to the checks of --set; absent while it is not given.
po::typed_value<std::string>* said(std::optional<std::string>& target, const char* placeholder) {
  return po::value<std::string>()->value_name(placeholder)->notifier([&](const std::string& words) { target = words; });
}

po::options_description described(SampleArguments& a) {
  po::options_description options("options");
  options.add_options()("run", po::value(&a.run), "the run folder or checkpoint (also as the first word)")(
      "num", whole_number("num", a.num, 1, kMostImages), "number of images")("out", po::value(&a.out),
                                                                             "folder to write to")(
      "sampler", said(a.sampler, "NAME"), "another sampler than the run's; `casdm plugins list` shows them")(
      "steps", said(a.steps, "N"), "number of steps; short for --set sampler.num_inference_steps=N")(
      "eta", said(a.eta, "X"), "noise of a step; short for --set sampler.eta=X")(
      "guidance", said(a.guidance, "X"), "classifier-free guidance; short for --set guidance.scale=X")(
      "set", po::value(&a.overrides)->composing(), "set one key of the run's experiment: sampler.spacing=trailing")(
      "seed", whole_number("seed", a.seed, 0), "seed of the images' noise; default: 0")(
      "batch", whole_number("batch", a.batch, 1, kLargestBatch),
      "images drawn at once; does not change their noise; default: 64")(
      "label", whole_number("label", a.label, 0),
      "class of all images, of a conditional run; default: all classes in turn")(
      "weights", po::value(&a.weights)->default_value("ema"),
      "ema, raw for the weights themselves, an average of [[ema.also]] by name, or a file of `casdm ema`")(
      "device", po::value(&a.device)->default_value("auto"), "auto, cpu or cuda")(
      "plugin", po::value(&a.plugins)->composing(), "a plugin library to use besides those found")(
      "no-png", po::bool_switch(&a.no_png), "write the grid and the NPZ only")(
      "overwrite", po::bool_switch(&a.overwrite), "write into a folder that holds samples already")(
      "allow-rebuilt", po::bool_switch(&a.allow_rebuilt), "sample although a plugin was rebuilt since the checkpoint");
  return options;
}

void check(const SampleArguments& a) {
  const std::string hint = "; see `casdm sample --help`";
  if (a.run.empty() || a.out.empty() || !a.num)
    throw ConfigError("sample: give a run, --num N (at least 1) and --out DIR" + hint);
  if (!a.overwrite && fs::exists(fs::path(a.out) / "samples.npz")) {
    throw ConfigError(text("sample: ", a.out, " holds samples already; choose another folder or pass --overwrite"));
  }
}

/// The run's experiment with the sampler that was asked for.
LoadedExperiment with_sampler(const Checkpoint& checkpoint, const SampleArguments& a) {
  std::vector<std::string> overrides;
  if (a.sampler) overrides.push_back("sampler={type=" + to_toml_value(*a.sampler) + "}");
  if (a.steps) overrides.push_back("sampler.num_inference_steps=" + *a.steps);
  if (a.eta) overrides.push_back("sampler.eta=" + *a.eta);
  if (a.guidance) overrides.push_back("guidance.scale=" + *a.guidance);
  overrides.insert(overrides.end(), a.overrides.begin(), a.overrides.end());
  Value document = checkpoint.config();
  apply_overrides(document, overrides);
  return resolve_experiment(document, {a.plugins.begin(), a.plugins.end()});
}

int sample_command(const std::vector<std::string>& words) {
  SampleArguments a;
  if (!fill_arguments({"sample", kUsage, described(a), {"run"}}, words)) return 0;
  check(a);
  catch_signals();

  Checkpoint checkpoint = Checkpoint::open(a.run);
  const LoadedExperiment experiment = with_sampler(checkpoint, a);
  const std::int64_t classes = checkpoint.num_classes();
  if (a.label && *a.label >= classes) {
    throw ConfigError(text("sample: --label ", *a.label, ": the run has ", classes, " classes",
                           classes > 0 ? text("; expected 0 to ", classes - 1) : ""));
  }
  const std::int64_t num = *a.num;
  const std::int64_t batch_size = a.batch.value_or(64);
  const Model model = make_model(experiment, classes);
  if (a.allow_rebuilt) checkpoint.accept_plugins();
  checkpoint.check_plugins(experiment.host->used());
  checkpoint.load_weights(model.head->modules(), a.weights);
  GenerateOptions generate_options;
  generate_options.device = select_device(a.device);
  generate_options.seed = static_cast<std::uint64_t>(a.seed.value_or(0));
  generate_options.channels = experiment.options.data.channels;
  generate_options.image_size = experiment.options.data.image_size;
  generate_options.precision = experiment.options.run.precision;
  generate_options.is_cancelled = interrupted;
  for (const NamedModule& module : model.head->modules()) move_to(*module.module, generate_options.device);

  const fs::path out = a.out;
  fs::create_directories(out);
  std::vector<Tensor> images;
  Tensor labels;
  if (classes > 0) {
    labels = a.label ? at::full({num}, *a.label, at::kLong) : at::arange(num, at::kLong).remainder(classes);
  }
  const auto steps = static_cast<std::int64_t>(model.sampler->plan().size());
  Progress progress("sampling", num * steps, "image steps");
  for (std::int64_t first = 0; first < num; first += batch_size) {
    generate_options.first = first;
    generate_options.count = std::min(batch_size, num - first);
    if (classes > 0) generate_options.labels = labels.narrow(0, first, generate_options.count);
    generate_options.on_step = [&](std::size_t step, std::size_t) {
      progress.update(first * steps + generate_options.count * static_cast<std::int64_t>(step));
    };
    const Tensor batch = to_uint8(generate(model, generate_options));
    if (!a.no_png) write_pngs(out, batch, first);
    images.push_back(batch);
  }
  const Tensor all = at::cat(images);
  write_npz(out / "samples.npz", all, labels);
  write_png(out / "grid.png", image_grid(all.narrow(0, 0, std::min(num, kGridImages))));
  std::cout << (out / "grid.png").string() << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_sample_command(const std::vector<std::string>& arguments) { return casdm::sample_command(arguments); }
