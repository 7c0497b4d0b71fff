#include "framework/training/training_state.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/training/damaged_checkpoint.h"
#include "framework/training/initial_weights.h"
#include "framework/training/module_optimizer.h"

namespace casdm {

namespace {

std::string file_name(const AverageRule& average) {
  return average.name() == "ema" ? average.name() : text("ema-", average.name());
}

constexpr const char* kSeen = "seen_images";  // key of the images that the run was trained with

/// What to do about an experiment that a checkpoint does not fit.
constexpr const char* kAdvice =
    "Resume with the experiment as it was, or start a new run from the checkpoint's weights with [[init]]";

/// What the first process asks the others for.
constexpr const char* kWholeState = "state";
constexpr const char* kSnapshots = "snapshots";

std::vector<ModuleState> states(const std::vector<NamedModule>& modules, const LoadedExperiment& experiment,
                                c10::Device device, World& world) {
  const auto& [resolved, options, host] = experiment;
  check_module_names(options.optimizer, modules);
  World* const sharers = options.train.shard_optimizer && world.size() > 1 ? &world : nullptr;
  std::vector<ModuleState> result;
  for (const NamedModule& module : modules) {
    const auto make = [plugins = host.get(), own = options.optimizer.of(module.name), name = module.name](
                          const Optimizer::Spec& spec) { return make_optimizer(*plugins, own, name, spec); };
    result.emplace_back(module, make, options.ema, device, sharers);
  }
  return result;
}

/// Throws ConfigError if other modules are frozen than in the checkpoint, since a frozen one has no optimizer state; or
/// if an optimizer keeps state in only one of the two.
void check_frozen(const NamedTensors& saved, const NamedTensors& optimizer, const std::vector<ModuleState>& modules,
                  const std::string& path) {
  for (const ModuleState& module : modules) {
    const bool was_trained = !part_of(saved, module.name()).empty();
    if (was_trained == !part_of(optimizer, module.name()).empty()) continue;
    if (was_trained && module.is_trainable()) {
      throw ConfigError(text("the optimizer of module ", module.name(), " keeps no state as it is set now, and kept ",
                             "one when ", path, " was saved. ", kAdvice));
    }
    throw ConfigError(text("module ", module.name(), " is ", was_trained ? "frozen" : "trained",
                           " in this experiment, and was ", was_trained ? "trained" : "frozen", " when ", path,
                           " was saved", was_trained ? "" : ", or had an optimizer without state", ". ", kAdvice));
  }
}

/// The first tensor that contains NaN; empty: none does.
std::string first_with_nan(const NamedTensors& tensors) {
  const auto has_nan = [](const Tensor& tensor) { return tensor.detach().isnan().any(); };
  NamedTensors floating = tensors;
  std::erase_if(floating, [](const auto& named) { return !named.second.is_floating_point(); });
  // Waits once for all tensors of a device, and looks at each only if there is one to report.
  for (const c10::DeviceType device : {c10::DeviceType::CPU, c10::DeviceType::CUDA}) {
    std::vector<Tensor> found;
    for (const auto& [name, tensor] : floating) {
      if (tensor.device().type() == device) found.push_back(has_nan(tensor));
    }
    if (found.empty() || !at::stack(found).any().item<bool>()) continue;
    for (const auto& [name, tensor] : floating) {
      if (tensor.device().type() == device && has_nan(tensor).item<bool>()) return name;
    }
  }
  return "";
}

/// The training time in a checkpoint; one of version 0.1 has none.
double seconds_of(const Checkpoint& checkpoint) {
  const Value* seconds = checkpoint.numbers().find("seconds");
  if (seconds == nullptr) return 0;
  if (std::isfinite(seconds->as_number()) && seconds->as_number() >= 0) return seconds->as_number();
  throw Error(text("its seconds are ", number(seconds->as_number())));
}

}  // namespace

TrainingState::TrainingState(const LoadedExperiment& experiment, const Model& model, const Dataset& dataset,
                             c10::Device device, bool is_new, World& world)
    : modules(states(initial_modules(model, experiment.options), experiment, device, world)),
      scaler(model.modules, experiment.options.run.precision,
             model.head.call(&CascadeHead::gradients_are_separate) &&
                 experiment.options.optimizer.grouping == Grouping::module),
      draws(experiment, model, device, world.rank(), world.size()),
      statistics(model.schedule->range()),
      world_(world),
      total_images_(experiment.options.train.total_images),
      num_classes_(experiment.options.data.use_labels ? dataset.num_classes() : 0),
      has_extras_(model.conditions != nullptr),
      data_(fingerprint(dataset, experiment.options.data)),
      seen_(seen_images(dataset, experiment.options.data)) {
  if (!is_new) return;
  for (ModuleState& module : modules) {
    if (!module.average_of().empty()) module.follow(module_named(module.average_of()), 0);
  }
}

void TrainingState::begin_sharing() {
  for (ModuleState& module : modules) module.begin_sharing();
}

bool TrainingState::is_divided() const {
  return std::any_of(modules.begin(), modules.end(), [](const ModuleState& module) { return module.is_divided(); });
}

std::vector<std::int64_t> TrainingState::divided_bytes() const {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(world_.size()));
  for (const ModuleState& module : modules) module.add_divided_bytes(bytes);
  return bytes;
}

const ModuleState& TrainingState::module_named(const std::string& name) const {
  return *std::find_if(modules.begin(), modules.end(),
                       [&](const ModuleState& module) { return module.name() == name; });
}

double TrainingState::seconds() const {
  return seconds_before_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void TrainingState::end_update(std::int64_t batch_size) {
  step_ += 1;
  images_ += batch_size;
  last_batch_ = batch_size;
  is_whole_ = true;
}

void TrainingState::take_back(std::int64_t batch_size) {
  step_ -= 1;
  images_ -= batch_size;
  is_whole_ = true;
}

void TrainingState::check_numbers(const Parts& parts) const {
  for (const ModuleState& module : modules) {
    if (module.has_finite_weights()) continue;
    throw NotFinite(text("step ", step_, ": the weights of module ", module.name(),
                         " are not finite, and no checkpoint of them is saved"));
  }
  for (const auto& [part, tensors] : parts) {
    if (const std::string name = first_with_nan(tensors); !name.empty()) {
      throw NotFinite(text("step ", step_, ": ", name, " of what a checkpoint keeps as ", part,
                           ".safetensors holds NaN, and no checkpoint of it is saved"));
    }
  }
}

CheckpointContent TrainingState::content() const {
  if (is_divided()) world_.take_from_first(std::string(kWholeState));
  CheckpointContent content;
  content.tensors = tensors(&StatePart::whole);
  content.numbers = numbers();
  return content;
}

std::vector<SnapshotContent> TrainingState::snapshots() const {
  if (is_divided()) world_.take_from_first(std::string(kSnapshots));
  return snapshots_of(modules, images_);
}

bool TrainingState::help(const std::string& request) const {
  if (request == kWholeState) tensors(&StatePart::whole);
  if (request == kSnapshots) send_ema_snapshots(modules);
  return request == kWholeState || request == kSnapshots;
}

TrainingState::Parts TrainingState::tensors(NamedTensors (StatePart::*of_part)() const) const {
  Parts result;
  result["weights"] = prefixed(modules, [](const ModuleState& module) { return module.weights(); });
  result["optimizer"] =
      prefixed(modules, [&](const ModuleState& module) { return (module.optimizer_part().*of_part)(); });
  const std::vector<AverageRule>& averages = modules.front().rules();
  for (std::size_t i = 0; i < averages.size(); ++i) {
    result[file_name(averages[i])] =
        prefixed(modules, [&](const ModuleState& module) { return (module.average_part(i).*of_part)(); });
  }
  if (NamedTensors learned = draws.state(); !learned.empty()) result["timesteps"] = std::move(learned);
  if (NamedTensors remembered = metrics_ ? metrics_() : NamedTensors(); !remembered.empty()) {
    result["metrics"] = std::move(remembered);
  }
  return result;
}

void TrainingState::keep_networks(Value of_extractors, std::function<Value()> of_metrics) {
  networks_ = std::move(of_extractors);
  metric_networks_ = std::move(of_metrics);
}

const Value& TrainingState::networks() const {
  if (const auto of_metrics = std::exchange(metric_networks_, nullptr)) {
    const Value all = of_metrics();
    for (const auto& [name, prints] : all.as_table()) networks_.set(name, prints);
  }
  return networks_;
}

Value TrainingState::numbers() const {
  Value result{Value::Table{}};
  result.set("step", step_);
  result.set("images", images_);
  result.set("last_batch", last_batch_);
  result.set("draws", kDrawVersion);
  result.set("num_classes", num_classes_);
  if (has_extras_) result.set("has_extras", true);
  result.set("seconds", seconds());
  result.set("loss_scales", scaler.state());
  result.set("statistics", statistics.state());
  result.set("data", to_value(data_));
  if (!seen_.hashes.empty()) result.set(kSeen, to_value(seen_));
  if (!networks().as_table().empty()) result.set(kNetworks, networks());
  return result;
}

void TrainingState::check_optimizers(const Checkpoint& checkpoint) const {
  const Value* table = checkpoint.config().find("optimizer");
  if (table == nullptr) return;
  const auto before = read_options<OptimizerOptions>(*table);
  for (const ModuleState& module : modules) {
    const std::string was = before.of(module.name()).component.type, is = module.optimizer_type();
    // Version 0.1 had only one optimizer and did not name it.
    if (was == is || was.empty() || is.empty()) continue;
    throw ConfigError(text("checkpoint ", checkpoint.path().string(), ": module ", module.name(), " was trained with ",
                           was, ", and ", is, " cannot continue from its state; resume with ", was,
                           ", or start a new run from the checkpoint's weights with [[init]]"));
  }
}

void TrainingState::restore(const Checkpoint& checkpoint) {
  const std::string path = checkpoint.path().string();
  check_optimizers(checkpoint);
  const Parts parts = tensors(&StatePart::loadable);
  for (const auto& [part, owner] : {std::pair("timesteps", "a timestep sampler"), std::pair("metrics", "metrics")}) {
    if (checkpoint.has(part) == parts.contains(part)) continue;
    throw ConfigError(text("checkpoint ", path, checkpoint.has(part) ? " holds" : " holds no", " state of ", owner,
                           ", but this experiment has ", parts.contains(part) ? "some" : "none", "; resume with the `",
                           part, "` of the checkpoint"));
  }
  for (const auto& [name, handles] : parts) {
    if (!checkpoint.has(name) && name.starts_with("ema-")) {
      throw ConfigError(text("checkpoint ", path, " has no ", name, ".safetensors: the average is not as old as the ",
                             "run; leave it out of [[ema.also]], or train a new run"));
    }
    const NamedTensors saved = checkpoint.tensors(name);
    if (name == "optimizer") check_frozen(saved, handles, modules, path);
    try {
      copy_into(handles, saved, checkpoint.file(name).string());
    } catch (const ConfigError& error) {
      throw ConfigError(text(error.what(), "\n", kAdvice));
    }
  }
  if (is_divided()) restored_ = parts;
  const std::optional<DataFingerprint> before = data_of(checkpoint);
  // The checkpoint knows data of before an earlier resume, too. A data set that was only moved has other places.
  const SeenImages earlier = seen_of(checkpoint);
  const bool is_other = before && !difference(*before, data_).empty();
  if (is_other || have_common(seen_, earlier)) seen_ = merged(seen_, earlier);
  try {
    const Value& numbers = checkpoint.numbers();
    images_ = checkpoint.images();
    step_ = checkpoint.count("step", images_);
    // Version 0.1 stored neither the last batch nor the sums, and early ones a batch before the first step, too.
    if (numbers.find("last_batch") != nullptr && images_ > 0) last_batch_ = checkpoint.count("last_batch", images_);
    if (const Value* scales = numbers.find("loss_scales")) scaler.restore(*scales);
    if (const Value* sums = numbers.find("statistics")) statistics.restore(*sums);
    seconds_before_ = seconds_of(checkpoint);
  } catch (const Error& error) {
    fail_damaged(checkpoint.path(), error.what());
  }
}

void TrainingState::follow_first(World& world) {
  if (world.size() == 1) return;
  for (const auto& [part, named] : tensors(&StatePart::undivided)) {
    for (const auto& [name, tensor] : named) world.take_from_first(tensor);
  }
  if (is_divided()) follow_divided();
  const Value first = from_json(world.take_from_first(to_json(numbers())));
  if (world.is_first()) return;
  step_ = first.find("step")->as_integer();
  images_ = first.find("images")->as_integer();
  last_batch_ = first.find("last_batch")->as_integer();
  scaler.restore(*first.find("loss_scales"));
  statistics.restore(*first.find("statistics"));
}

void TrainingState::follow_divided() {
  const bool is_new = world_.take_from_first(std::string(restored_.empty() ? "new" : "restored")) == "new";
  for (ModuleState& module : modules) {
    if (is_new && module.is_divided()) module.restart_share();
    if (is_new) continue;
    module.optimizer_part().distribute(part_of(restored_["optimizer"], module.name()));
    for (std::size_t i = 0; i < module.rules().size(); ++i) {
      module.average_part(i).distribute(part_of(restored_[file_name(module.rules()[i])], module.name()));
    }
  }
  restored_.clear();
}

std::optional<DataFingerprint> data_of(const Checkpoint& checkpoint) {
  const Value* data = checkpoint.numbers().find("data");
  if (data == nullptr) return std::nullopt;
  try {
    return fingerprint_from(*data);
  } catch (const Error& error) {
    fail_damaged(checkpoint.path(), error.what());
  }
}

SeenImages seen_of(const Checkpoint& checkpoint) {
  const Value* seen = checkpoint.numbers().find(kSeen);
  if (seen == nullptr) return {};
  try {
    return seen_images_from(*seen);
  } catch (const Error& error) {
    fail_damaged(checkpoint.path(), error.what());
  }
}

}  // namespace casdm
