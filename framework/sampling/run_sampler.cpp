#include "framework/sampling/run_sampler.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <iostream>

#include "casdm/build_info.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/config/overrides.h"
#include "framework/config/void_options.h"
#include "framework/data/extras.h"
#include "framework/data/fingerprint.h"
#include "framework/sampling/experiment.h"
#include "framework/sampling/guidance.h"
#include "framework/sampling/weights_origin.h"
#include "framework/support/files.h"
#include "framework/support/number_format.h"
#include "framework/support/silence.h"
#include "framework/support/value_table.h"
#include "framework/training/experiment_change.h"
#include "framework/training/module_optimizer.h"
#include "framework/training/network_check.h"
#include "framework/training/pretrained.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

constexpr const char* kWeightsWarning = "warning";  // of the weights, in the settings

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

/// Like Checkpoint::load_weights; if the weights do not fit the networks of `experiment`, the error names the keys that
/// change the networks.
void load_weights(const Checkpoint& checkpoint, const std::vector<NamedModule>& modules, const std::string& weights,
                  const LoadedExperiment& experiment) {
  try {
    checkpoint.load_weights(modules, weights);
  } catch (const ConfigError& error) {
    std::string lines;
    for (const ExperimentChange& change : changes(checkpoint.config(), experiment.resolved)) {
      const bool is_of_networks = is_at_or_below(change.key, "head") || is_at_or_below(change.key, "augmentation") ||
                                  change.key == "data.image_size" || change.key == "data.channels";
      const bool is_new = is_new_default(change, experiment.resolved, experiment.host->catalog());
      if (is_of_networks && !is_new) lines += "\n  " + to_string(change);
    }
    if (lines.empty()) throw;
    throw ConfigError(
        text(error.what(), "\nThe networks are not the checkpoint's. Leave out the settings that change them:", lines));
  }
}

/// Moves a module to a GPU with its parameters in one piece of memory, as in training: a network may then convert them
/// all by one kernel in each step.
void move_in_one_piece(const Module& module, c10::Device device) {
  const at::NoGradGuard no_grad;
  const NamedTensors parameters = module.parameters();
  const Optimizer::Spec flat = flat_parameters(parameters, device, /*is_trained=*/false);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor parameter = parameters[i].second;
    const Tensor& weight = flat.parameters[i].weight;
    weight.copy_(parameter);
    parameter.set_data(weight);
  }
  move_to(module, device);
}

/// Throws ConfigError if the number of steps given on the command line has no effect because another option of the
/// sampler decides it.
void require_effect_of_steps(const LoadedExperiment& experiment, const Model& model) {
  ComponentConfig other = experiment.options.sampler;
  const Value* asked = experiment.options.sampler.table.find(Sampler::steps_option);
  if (asked == nullptr || !asked->is_integer() || !asked->location().file.starts_with("--set")) return;
  const std::int64_t steps = asked->as_integer();
  other.table.set(Sampler::steps_option, steps > 1 ? steps - 1 : steps + 1);
  const std::size_t taken = model.sampler.call(&Sampler::plan).size();
  const Silence silence;
  try {
    const Component<Sampler> sampler = experiment.host->create<Sampler>(other, {model.schedule, model.image});
    if (sampler.call(&Sampler::plan).size() != taken) return;
  } catch (const Error&) {  // it does have an effect
    return;
  }
  fail_at(asked->location(), text("another option of the sampler sets the number of steps to ", taken,
                                  "; change that one: ", to_json(experiment.options.sampler.table)));
}

/// Throws ConfigError if guidance is asked for and no step of the sampler lies in guidance.interval.
void require_effect_of_guidance(const LoadedExperiment& experiment, const Model& model) {
  if (model.guidance.scale == 1) return;
  std::vector<std::string> fractions;
  for (const SampleStep& step : model.sampler.call(&Sampler::plan)) {
    const double fraction = model.schedule->fraction(step.t);
    if (guidance_scale(model.guidance, fraction) != 1) return;
    fractions.push_back(significant(fraction));
  }
  constexpr std::size_t kShown = 8;
  const std::size_t rest = fractions.size() - std::min(fractions.size(), kShown);
  fractions.resize(fractions.size() - rest);
  fail_at(find_path(experiment.resolved, "guidance.interval")->location(),
          text("none of the sampler's steps lies in it, so nothing would be guided; they are at ",
               join(fractions, ", "), rest > 0 ? text(" and ", rest, " more") : "", " of the path"));
}

/// A sampler that begins next to the clean image takes the noise for an image, and so returns it.
void warn_if_it_begins_clean(const Model& model) {
  const TimeRange times = model.schedule->range();
  const double begin = model.sampler.call(&Sampler::plan).front().t;
  if (begin != times.first || times.first == times.last) return;
  std::cerr << "warning: the sampler's only step is at t = " << begin
            << ", next to the clean image, so the samples are the noise that they begin with; take more steps, or let "
               "the sampler begin at the most noise, t = "
            << times.last << '\n';
}

}  // namespace

bool has_extras(const Checkpoint& checkpoint) { return checkpoint.numbers().find("has_extras") != nullptr; }

LoadedExperiment experiment_to_sample(const Checkpoint& checkpoint, const SamplingRequest& request) {
  const std::int64_t classes = checkpoint.num_classes();
  if (request.label && *request.label >= classes) {
    throw ConfigError(text(request.command, ": --label ", *request.label, ": the run has ", classes, " classes",
                           classes > 0 ? text("; expected 0 to ", classes - 1) : ""));
  }
  Value config = checkpoint.config();
  if (Value* run = config.find("run")) run->set("device", "auto");
  std::vector<std::string> overrides;
  const auto add = [&](const char* option, const std::optional<std::string>& value, const std::string& key,
                       const std::string& override) {
    if (!value) return;
    refuse_set_twice(text(option, ' ', *value), key, request.overrides);
    overrides.push_back(override);
  };
  const auto quoted_toml = [](const std::optional<std::string>& value) { return to_toml_value(value.value_or("")); };
  add("--device", request.device, "run.device", "run.device=" + quoted_toml(request.device));
  add("--sampler", request.sampler, "sampler.type", "sampler={type=" + quoted_toml(request.sampler) + "}");
  const std::string steps = text("sampler.", Sampler::steps_option);
  const std::string eta = text("sampler.", Sampler::eta_option);
  add("--steps", request.steps, steps, text(steps, "=", request.steps.value_or("")));
  add("--eta", request.eta, eta, text(eta, "=", request.eta.value_or("")));
  add("--guidance", request.guidance, "guidance.scale", "guidance.scale=" + request.guidance.value_or(""));
  overrides.insert(overrides.end(), request.overrides.begin(), request.overrides.end());
  LoadedExperiment experiment =
      sampling_experiment(config, has_extras(checkpoint), overrides, {request.plugins.begin(), request.plugins.end()});
  report_void_options(experiment.resolved, experiment.host->catalog());
  return experiment;
}

GenerateOptions generate_options(const Experiment& experiment, c10::Device device, const SamplingRequest& request) {
  GenerateOptions options;
  options.device = device;
  options.seed = static_cast<std::uint64_t>(request.seed.value_or(0));
  options.channels = experiment.data.channels;
  options.image_size = experiment.data.image_size;
  options.precision = experiment.run.precision;
  options.is_cancelled = interrupted;
  if (options.precision == Precision::fp16 && options.device.is_cpu()) {
    std::cerr << "run.precision = \"fp16\" is for CUDA: sampling in fp32 on the CPU\n";
    options.precision = Precision::fp32;
  }
  return options;
}

Model model_to_sample(const LoadedExperiment& experiment, Checkpoint& checkpoint, const SamplingRequest& request,
                      c10::Device device) {
  // The extras that images are conditioned on come from the data set.
  const std::shared_ptr<Dataset> conditions = has_extras(checkpoint) ? make_dataset(experiment) : nullptr;
  Model model = make_model(experiment, checkpoint.num_classes(), conditions, /*is_training=*/false);
  require_effect_of_steps(experiment, model);
  require_effect_of_guidance(experiment, model);
  warn_if_it_begins_clean(model);
  if (request.allow_rebuilt) checkpoint.accept_plugins();
  checkpoint.check_plugins(experiment.host->used());
  std::vector<std::string> modules;
  for (const NamedModule& module : model.modules) modules.push_back(module.name);
  check_networks(checkpoint, experiment.resolved, modules, *experiment.host);
  report_other_meaning("the networks were trained for other settings", meaning_of(checkpoint.config()),
                       experiment.resolved, experiment.host->catalog());
  load_weights(checkpoint, model.modules, request.weights, experiment);
  if (!checkpoint.has_average(request.weights)) {
    check_weights_file(request.weights, modules, experiment.resolved, *experiment.host);
  }
  for (const NamedModule& module : model.modules) {
    device.is_cpu() ? move_to(*module.module, device) : move_in_one_piece(*module.module, device);
  }
  return model;
}

std::function<std::int64_t(std::int64_t)> label_of_image(const Checkpoint& checkpoint, const Model& model,
                                                         const SamplingRequest& request) {
  const std::int64_t classes = checkpoint.num_classes();
  if (classes == 0) return {};
  return [label = request.label, conditions = model.conditions, classes](std::int64_t index) {
    return label ? *label : label_of_sample(conditions.get(), classes, index);
  };
}

Value sampling_settings(const LoadedExperiment& experiment, const Model& model, const Checkpoint& checkpoint,
                        const GenerateOptions& options, const SamplingRequest& request) {
  const std::int64_t classes = checkpoint.num_classes();
  Value plugins{Value::Table{}};
  for (const UsedPlugin& plugin : experiment.host->used()) {
    plugins.set(plugin.id, text(plugin.version, " ", plugin.build_id));
  }
  Value weights = table({{"name", request.weights}, {"sha256", digest_of(model.modules)}});
  const WeightsOrigin origin = origin_of(request.weights, checkpoint);
  for (const auto& [key, value] : origin.recorded.as_table()) weights.set(key, value);
  if (!origin.warning.empty()) weights.set(kWeightsWarning, origin.warning);
  Value settings = table({
      {"program", "casdm " CASDM_SDK_VERSION},
      {"libtorch", TORCH_VERSION},
      {"plugins", plugins},
      {"weights", weights},
      {"noise", experiment.options.noise.table},
      {"head", experiment.options.head.table},
      {"sampler", experiment.options.sampler.table},
      {"steps", static_cast<std::int64_t>(model.sampler.call(&Sampler::plan).size())},
      {"guidance", write_options(experiment.options.guidance)},
      {"labels", classes == 0    ? Value("none")
                 : request.label ? Value(*request.label)
                                 : Value(model.conditions ? "of the images of the data" : "all in turn")},
      {"classes", classes},
      {"seed", request.seed.value_or(0)},
      {"batch", request.batch_size()},
      {"channels", options.channels},
      {"image_size", options.image_size},
      {"precision", std::string(to_string(options.precision))},
      {"device", options.device.str()},
      {"threads", std::int64_t{at::get_num_threads()}},
  });
  if (model.conditions) {
    settings.set("data", experiment.options.data.dataset.table);
    settings.set("data_content", to_value(fingerprint(model.conditions->dataset(), experiment.options.data)));
  }
  return settings;
}

void add_conditions(Value& settings, const Model& model, std::int64_t count,
                    const std::function<std::int64_t(std::int64_t)>& label) {
  if (model.conditions)
    settings.set(kConditionsDigest, digest_of_conditions(*model.conditions, count, label, interrupted));
}

std::string warning_of(const Value& settings) {
  const Value* warning = find_path(settings, text("weights.", kWeightsWarning));
  return warning == nullptr ? "" : warning->as_string();
}

Tensor labels_for(const std::function<std::int64_t(std::int64_t)>& label, std::int64_t first, std::int64_t count) {
  if (!label) return {};
  Tensor labels = at::empty({count}, at::kLong);
  for (std::int64_t i = 0; i < count; ++i) labels[i] = label(first + i);
  return labels;
}

}  // namespace casdm
