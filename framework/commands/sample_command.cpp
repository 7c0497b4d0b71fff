#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include <iostream>

#include "casdm/build_info.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/config/overrides.h"
#include "framework/data/image_transform.h"
#include "framework/device/device.h"
#include "framework/device/heap.h"
#include "framework/device/threads.h"
#include "framework/reporting/progress.h"
#include "framework/sampling/experiment.h"
#include "framework/sampling/generate.h"
#include "framework/sampling/sample_folder.h"
#include "framework/support/exception_message.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "framework/training/checkpoint.h"
#include "framework/training/network_check.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct SampleArguments {
  std::string run;
  std::string out;
  std::string weights = "ema";
  std::optional<std::string> device;
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
DIR/000000.png and on, DIR/grid.png (the first 64), DIR/samples.npz (guided-diffusion's layout:
arr_0 uint8 NHWC, arr_1 labels) and DIR/sampling.json, which says what made them. The noise of an
image depends on the seed and its index alone.

Ctrl-C, SIGTERM and SIGHUP stop it within a step, with exit status 1. The same command goes on after
the last whole batch, and the result is that of the uninterrupted one; so it does after a crash.

  casdm sample runs/quickstart --num 64 --out samples
  casdm sample runs/quickstart --num 50000 --out many --no-png --steps 100 --eta 1
  casdm sample runs/quickstart --num 16 --out ancestral --sampler ddpm --set sampler.variance=fixed_small
)";

constexpr std::int64_t kMostImages = 1000000000;
constexpr std::int64_t kLargestBatch = 1 << 20;
constexpr std::int64_t kBatch = 64;

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
      "steps", said(a.steps, "N"),
      text("number of steps; short for --set sampler.", Sampler::steps_option, "=N").c_str())(
      "eta", said(a.eta, "X"), text("noise of a step; short for --set sampler.", Sampler::eta_option, "=X").c_str())(
      "guidance", said(a.guidance, "X"), "classifier-free guidance; short for --set guidance.scale=X")(
      "set", po::value(&a.overrides)->composing(), "set one key of the run's experiment: guidance.scale=1.5")(
      "seed", whole_number("seed", a.seed, 0), "seed of the images' noise; default: 0")(
      "batch", whole_number("batch", a.batch, 1, kLargestBatch),
      "images drawn at once; does not change their noise; default: 64")(
      "label", whole_number("label", a.label, 0), "class of all images, of a conditional run; default: all in turn")(
      "weights", po::value(&a.weights)->default_value("ema"),
      "ema, raw for the weights themselves, an average of [[ema.also]] by name, or a file of `casdm ema`")(
      "device", said(a.device, "NAME"), "auto, cpu, cuda or cuda:1; short for --set run.device=NAME; default: auto")(
      "plugin", po::value(&a.plugins)->composing(), "an additional plugin library")(
      "no-png", po::bool_switch(&a.no_png), "write the grid and the NPZ only")(
      "overwrite", po::bool_switch(&a.overwrite), "replace the sampling that DIR holds")(
      "allow-rebuilt", po::bool_switch(&a.allow_rebuilt), "sample although a plugin was rebuilt since the checkpoint");
  return options;
}

/// An unfinished sampling goes on with its checkpoint, while the run has it, although the run may have a newer one.
Checkpoint open_checkpoint(const SampleArguments& a, const SampleFolder& folder) {
  const std::string name = a.overwrite ? "" : folder.unfinished_checkpoint();
  const fs::path before = fs::path(a.run) / "checkpoints" / name;
  std::error_code ignored;
  return Checkpoint::open(!name.empty() && fs::exists(before, ignored) ? before : fs::path(a.run));
}

/// Whether the networks are conditioned on more than labels.
bool has_extras(const Checkpoint& checkpoint) { return checkpoint.numbers().find("has_extras") != nullptr; }

LoadedExperiment experiment_of(const Checkpoint& checkpoint, const SampleArguments& a) {
  Value config = checkpoint.config();
  if (Value* run = config.find("run")) run->set("device", "auto");
  std::vector<std::string> overrides;
  const auto add = [&](const char* option, const std::optional<std::string>& value, const std::string& key,
                       const std::string& override) {
    if (!value) return;
    refuse_set_twice(text(option, ' ', *value), key, a.overrides);
    overrides.push_back(override);
  };
  const auto quoted_toml = [](const std::optional<std::string>& value) { return to_toml_value(value.value_or("")); };
  add("--device", a.device, "run.device", "run.device=" + quoted_toml(a.device));
  add("--sampler", a.sampler, "sampler.type", "sampler={type=" + quoted_toml(a.sampler) + "}");
  const std::string steps = text("sampler.", Sampler::steps_option);
  const std::string eta = text("sampler.", Sampler::eta_option);
  add("--steps", a.steps, steps, text(steps, "=", a.steps.value_or("")));
  add("--eta", a.eta, eta, text(eta, "=", a.eta.value_or("")));
  add("--guidance", a.guidance, "guidance.scale", "guidance.scale=" + a.guidance.value_or(""));
  overrides.insert(overrides.end(), a.overrides.begin(), a.overrides.end());
  return sampling_experiment(config, has_extras(checkpoint), overrides, {a.plugins.begin(), a.plugins.end()});
}

/// How the images are drawn, as far as it is the same for all batches.
GenerateOptions generate_options(const Experiment& experiment, c10::Device device, const SampleArguments& a) {
  GenerateOptions options;
  options.device = device;
  options.seed = static_cast<std::uint64_t>(a.seed.value_or(0));
  options.channels = experiment.data.channels;
  options.image_size = experiment.data.image_size;
  options.precision = experiment.run.precision;
  options.is_cancelled = interrupted;
  if (options.precision == "fp16" && options.device.is_cpu()) {
    std::cerr << "run.precision = \"fp16\" is for CUDA: sampling in fp32 on the CPU\n";
    options.precision = "fp32";
  }
  return options;
}

Model ready_model(const LoadedExperiment& experiment, Checkpoint& checkpoint, const SampleArguments& a,
                  c10::Device device) {
  // What images are conditioned on comes from the data set.
  const std::shared_ptr<Dataset> conditions = has_extras(checkpoint) ? make_dataset(experiment) : nullptr;
  Model model = make_model(experiment, checkpoint.num_classes(), conditions);
  if (a.allow_rebuilt) checkpoint.accept_plugins();
  checkpoint.check_plugins(experiment.host->used());
  checkpoint.load_weights(model.modules, a.weights);
  if (!checkpoint.has_average(a.weights)) {
    for (const NamedModule& module : model.modules) {
      check_network(pretrained(a.weights, module.name), a.weights, experiment.resolved, module.name, *experiment.host);
    }
  }
  for (const NamedModule& module : model.modules) move_to(*module.module, device);
  return model;
}

/// Throws ConfigError when the number of steps that the command line gives changes nothing, because another option of
/// the sampler decides it.
void require_effect_of_steps(const LoadedExperiment& experiment, const Model& model) {
  ComponentConfig other = experiment.options.sampler;
  const Value* asked = experiment.options.sampler.table.find(Sampler::steps_option);
  if (asked == nullptr || !asked->is_integer() || !asked->location().file.starts_with("--set")) return;
  const std::int64_t steps = asked->as_integer();
  other.table.set(Sampler::steps_option, steps > 1 ? steps - 1 : steps + 1);
  const std::size_t taken = model.sampler.call(&Sampler::plan).size();
  try {
    const Component<Sampler> sampler = experiment.host->create<Sampler>(other, {model.schedule, model.image});
    if (sampler.call(&Sampler::plan).size() != taken) return;
  } catch (const Error&) {  // then the number counts
    return;
  }
  fail_at(asked->location(), text("another option of the sampler decides the number of steps, ", taken,
                                  " whatever this says; change that one: ", to_json(experiment.options.sampler.table)));
}

Value table(std::initializer_list<Value::Member> members) { return Value(Value::Table(members)); }

/// SHA-256 over the names and values of all weights.
std::string digest_of(const std::vector<NamedModule>& modules) {
  std::string all;
  for (const NamedModule& module : modules) {
    for (const auto& [name, tensor] : state(*module.module)) {
      const Tensor values = tensor.detach().cpu().contiguous();
      const std::string_view bytes(static_cast<const char*>(values.data_ptr()), values.nbytes());
      all += text(module.name, ".", name, " ", sha256(bytes), "\n");
    }
  }
  return sha256(all);
}

/// All that decides what the images are.
Value settings_of(const LoadedExperiment& experiment, const Model& model, const Checkpoint& checkpoint,
                  const GenerateOptions& options, const SampleArguments& a) {
  const std::int64_t classes = checkpoint.num_classes();
  Value plugins{Value::Table{}};
  for (const UsedPlugin& plugin : experiment.host->used()) {
    plugins.set(plugin.id, text(plugin.version, " ", plugin.build_id));
  }
  return table({
      {"program", "casdm " CASDM_SDK_VERSION},
      {"libtorch", TORCH_VERSION},
      {"plugins", plugins},
      {"weights", table({{"name", a.weights}, {"sha256", digest_of(model.modules)}})},
      {"noise", experiment.options.noise.table},
      {"head", experiment.options.head.table},
      {"sampler", experiment.options.sampler.table},
      {"steps", static_cast<std::int64_t>(model.sampler.call(&Sampler::plan).size())},
      {"guidance", write_options(experiment.options.guidance)},
      {"labels", classes == 0 ? Value("none")
                 : a.label    ? Value(*a.label)
                              : Value("all in turn")},
      {"classes", classes},
      {"seed", a.seed.value_or(0)},
      {"images", *a.num},
      {"batch", a.batch.value_or(kBatch)},
      {"channels", options.channels},
      {"image_size", options.image_size},
      {"precision", options.precision},
      {"device", options.device.str()},
      {"threads", std::int64_t{at::get_num_threads()}},
      {"png", !a.no_png},
  });
}

Sampling sampling_of(const Checkpoint& checkpoint, const GenerateOptions& options, const SampleArguments& a,
                     Value settings) {
  Sampling sampling{*a.num, options.channels, options.image_size, !a.no_png, {}, {}, std::move(settings)};
  const std::int64_t classes = checkpoint.num_classes();
  if (classes > 0) sampling.label = [&a, classes](std::int64_t index) { return a.label ? *a.label : index % classes; };
  sampling.origin = table(
      {{"run", a.run}, {"checkpoint", table({{"path", checkpoint.path().string()}, {"images", checkpoint.images()}})}});
  return sampling;
}

/// Draws what the folder lacks, batch by batch. The batches of an interrupted sampling are those of a whole one.
void draw(const Model& model, GenerateOptions options, const Sampling& sampling, std::int64_t batch,
          CpuThreads& threads, SampleFolder& folder) {
  const auto steps = static_cast<std::int64_t>(model.sampler.call(&Sampler::plan).size());
  Progress progress("sampling", sampling.count * steps, "image steps", folder.images() * steps);
  progress.say(threads.describe());
  while (folder.images() < sampling.count) {
    options.first = folder.images();
    options.count = std::min(batch, sampling.count - options.first);
    if (sampling.label) {
      options.labels = at::empty({options.count}, at::kLong);
      for (std::int64_t i = 0; i < options.count; ++i) options.labels[i] = sampling.label(options.first + i);
    }
    options.on_step = [&](std::size_t step, std::size_t) {
      threads.update();
      progress.update(options.first * steps + options.count * static_cast<std::int64_t>(step));
    };
    folder.add(to_uint8(generate(model, options)));
  }
  folder.finish();
}

int sample_command(const std::vector<std::string>& words) {
  SampleArguments a;
  if (!fill_arguments({"sample", kUsage, described(a), {"run"}}, words)) return 0;
  if (a.run.empty() || a.out.empty() || !a.num) {
    throw ConfigError("sample: give a run, --num N and --out DIR; see `casdm sample --help`");
  }
  catch_signals();
  keep_freed_memory();

  refuse_inside_run("sample", a.out);
  SampleFolder folder(a.out);
  Checkpoint checkpoint = open_checkpoint(a, folder);
  const std::int64_t classes = checkpoint.num_classes();
  if (a.label && *a.label >= classes) {
    throw ConfigError(text("sample: --label ", *a.label, ": the run has ", classes, " classes",
                           classes > 0 ? text("; expected 0 to ", classes - 1) : ""));
  }
  const LoadedExperiment experiment = experiment_of(checkpoint, a);
  const SelectedDevice device = select_device(experiment.options.run);
  const GenerateOptions options = generate_options(experiment.options, device.device, a);
  std::int64_t asked = experiment.options.run.threads;
  if (asked == 0 && (!a.overwrite || folder.is_unfinished())) asked = folder.earlier_threads();
  // One number for all images: the last bits depend on it.
  CpuThreads threads(asked > 0 ? asked : CpuThreads(0).count());
  const Model model = ready_model(experiment, checkpoint, a, options.device);
  require_effect_of_steps(experiment, model);
  const Sampling sampling = sampling_of(checkpoint, options, a, settings_of(experiment, model, checkpoint, options, a));
  const std::string remark = folder.begin(sampling, a.overwrite);
  if (!remark.empty()) std::cerr << remark << '\n';
  try {
    if (!folder.is_complete()) {
      std::cerr << "device: " << device.description << '\n';
      draw(model, options, sampling, a.batch.value_or(kBatch), threads, folder);
    }
  } catch (const SamplingCancelled&) {
    throw Error(text("sampling was stopped after ", folder.images(), " of ", sampling.count,
                     " images. The same command", a.overwrite ? " without --overwrite" : "", " continues from there"));
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw OutOfMemory(
        text(exception_message(error), ". A smaller --batch than ", a.batch.value_or(kBatch), " needs less"));
  }
  std::cout << folder.grid().string() << '\n';
  return 0;
}

}  // namespace

}  // namespace casdm

int casdm_sample_command(const std::vector<std::string>& arguments) { return casdm::sample_command(arguments); }
