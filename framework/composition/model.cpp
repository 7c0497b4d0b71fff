#include "framework/composition/model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/composition/contract.h"
#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/loading/find_plugins.h"
#include "framework/loading/lock.h"
#include "framework/support/number_format.h"

namespace casdm {

LoadedExperiment resolve_experiment(const Value& document, const std::vector<std::filesystem::path>& plugin_files,
                                    const OptionSchema& schema, Missing missing) {
  std::shared_ptr<PluginHost> host = find_plugins(document, plugin_files);
  Value resolved = checked_experiment(document, schema, host->catalog(), missing);
  check_lock(resolved, lock_in(resolved), host->catalog());
  Experiment options = read_options<Experiment>(resolved);
  return {std::move(resolved), std::move(options), std::move(host)};
}

LoadedExperiment load_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                                 const std::vector<std::filesystem::path>& plugin_files) {
  return resolve_experiment(load_experiment_document(file, overrides), plugin_files);
}

namespace {

/// "; 3 other files left out (.gif)"; empty if there is nothing to say.
std::string of_left_out(const Dataset& dataset) {
  std::string left_out = dataset.left_out();
  std::replace(left_out.begin(), left_out.end(), '\n', ' ');
  return left_out.empty() ? "" : "; " + left_out;
}

}  // namespace

std::shared_ptr<Dataset> make_dataset(const LoadedExperiment& experiment) {
  const DataOptions& data = experiment.options.data;
  std::shared_ptr<Dataset> dataset = checked_dataset(
      experiment.host->create<Dataset>(data.dataset, {ImageShape::square(data.channels, data.image_size)}));
  if (const std::int64_t images = dataset->size(); images < 1) {
    throw ConfigError(text(error_prefix(data.dataset), "the data set has no images",
                           images < 0 ? text(": its size() is ", images) : ""));
  }
  if (data.use_labels && dataset->num_classes() < 1) {
    throw ConfigError(
        text("data.use_labels: the data set '", data.dataset.type, "' has no labels. Does it have an option ",
             "that says where they are? See `casdm plugins inspect ", data.dataset.type, "`", of_left_out(*dataset)));
  }
  return dataset;
}

const Module& Model::module(const std::string& name) const {
  std::vector<std::string> names;
  for (const NamedModule& candidate : modules) {
    if (candidate.name == name) return *candidate.module;
    names.push_back(candidate.name);
  }
  throw ConfigError(text("the head has no module '", name, "'; it has ", join(names, ", ")));
}

namespace {

/// An augmentation gets the image alone, so a condition that belongs to its pixels does not follow.
void warn_of_unmoved(const std::vector<ExtraInfo>& extras) {
  for (const ExtraInfo& extra : extras) {
    if (!extra.is_image) continue;
    std::cerr << "warning: [augmentation] changes the image but not " << quoted(extra.name)
              << ", which it is conditioned on: if it moves or recolours pixels, the two no longer match; leave "
                 "[augmentation] out, or choose one that does neither\n";
  }
}

}  // namespace

Model make_model(const LoadedExperiment& experiment, std::int64_t num_classes, std::shared_ptr<const Dataset> dataset,
                 bool is_training) {
  const Experiment& options = experiment.options;
  const PluginHost& host = *experiment.host;
  Model model;
  model.guidance = options.guidance;
  model.image = ImageShape::square(options.data.channels, options.data.image_size);
  if (options.data.label_dropout > 0) model.null_label = num_classes;
  model.schedule = checked_schedule(host.create<NoiseScheduler>(options.noise, {}));
  if (!options.augmentation.type.empty()) {
    model.augmentation = host.create<Augmentation>(options.augmentation, {model.image});
  }
  CascadeHead::Spec spec;
  spec.image = model.image;
  spec.condition.num_classes = options.data.use_labels ? num_classes + (model.null_label >= 0 ? 1 : 0) : 0;
  if (dataset) spec.condition.extras = dataset->extras();
  if (!spec.condition.extras.empty()) {
    DataOptions data = options.data;
    data.use_labels = false;  // label_of_sample replaces missing ones
    model.conditions = std::make_shared<ImageReader>(std::move(dataset), data);
  }
  if (is_training && model.augmentation) warn_of_unmoved(spec.condition.extras);
  spec.schedule = model.schedule;
  spec.factory = &host.parts();
  spec.seed = static_cast<std::uint64_t>(options.run.seed);
  spec.is_training = is_training;
  spec.condition.augment_size = model.augmentation ? model.augmentation.call(&Augmentation::label_size) : 0;
  if (spec.condition.augment_size < 0) model.augmentation.fail(text("label_size is ", spec.condition.augment_size));
  model.head = host.create<CascadeHead>(options.head, spec);
  model.modules = checked_modules(model.head);
  model.sampler = host.create<Sampler>(options.sampler, {model.schedule, model.image});
  checked_plan(model.sampler, model.schedule->range());
  check_beginning(model.sampler, *model.schedule, model.image);
  return model;
}

void move_to(const Module& module, c10::Device device) {
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state(module)) Tensor(tensor).set_data(tensor.detach().to(device));
}

std::string describe(const Dataset& dataset) {
  const auto counted = [](std::int64_t count, const char* one, const char* more) {
    return text(count, " ", count == 1 ? one : more);
  };
  std::string result = counted(dataset.size(), "image", "images");
  if (dataset.num_classes() > 0) result += ", " + counted(dataset.num_classes(), "class", "classes");
  return result + of_left_out(dataset);
}

std::string describe(const Model& model) {
  std::vector<std::string> modules;
  for (const NamedModule& module : model.modules) {
    std::int64_t count = 0;
    for (const auto& [name, tensor] : module.module->parameters()) count += tensor.numel();
    modules.push_back(text(module.name, " (", short_count(static_cast<double>(count)), " parameters",
                           module.is_trainable ? ")" : ", frozen)"));
  }
  return join(modules, ", ");
}

}  // namespace casdm
