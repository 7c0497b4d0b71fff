#include "framework/evaluation/evaluation_setup.h"

#include <algorithm>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/overrides.h"
#include "framework/evaluation/gather.h"
#include "framework/loading/find_plugins.h"
#include "framework/loading/lock.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "framework/training/training_state.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kEvaluate = "evaluate";

Value with_plugins(Value document, const LoadedExperiment& base) {
  if (const Value* plugins = base.resolved.find("plugins")) document.set("plugins", *plugins);
  return document;
}

/// Resolves the listed tables of an experiment, and [plugins]; in [data] only the host's keys.
LoadedExperiment part_of(Value document, std::vector<std::string> tables, std::shared_ptr<PluginHost> host) {
  tables.emplace_back("plugins");
  const auto is_other = [&](const std::string& name) {
    return std::find(tables.begin(), tables.end(), name) == tables.end();
  };
  OptionSchema schema = host_schema();
  std::erase_if(schema, [&](const OptionSpec& option) { return is_other(option.name); });
  std::erase_if(document.as_table(), [&](const Value::Member& member) { return is_other(member.first); });
  for (OptionSpec& option : schema) {
    if (option.name == "data") option.component_kind.clear();
  }
  if (Value* data = document.find("data")) {
    const OptionSchema& fields = *host_fields(&host_schema(), "data");
    std::erase_if(data->as_table(), [&](const Value::Member& member) {
      return std::none_of(fields.begin(), fields.end(), [&](const OptionSpec& f) { return f.name == member.first; });
    });
  }
  Value resolved = resolve(document, schema, host->catalog());
  check_lock(resolved, lock_in(resolved), host->catalog());
  auto options = read_options<Experiment>(resolved);
  return {std::move(resolved), std::move(options), std::move(host)};
}

/// How the images differ from those that the checkpoint was trained with; empty: they do not, or it does not say.
std::string other_images(const Checkpoint& checkpoint, const DataSource& source) {
  std::optional<DataFingerprint> before = data_of(checkpoint);
  if (!before) return "";
  const DataFingerprint now = fingerprint(*source.dataset, source.options);
  before->labels = now.labels;  // no score depends on these
  before->classes = now.classes;
  before->extras = now.extras;
  return difference(*before, now);
}

/// It would be taken for a folder of images.
void refuse_checkpoints_folder(const fs::path& what) {
  if (what.empty()) return;
  const fs::path folder = fs::absolute(what / "").lexically_normal().parent_path(), run = folder.parent_path();
  if (folder.filename() != "checkpoints" || !is_of_training(run)) return;
  throw ConfigError(text("evaluate: ", quoted(what.string()), " is the folder of a run's checkpoints; give the run, ",
                         run.string(), ", or one of them"));
}

/// Adds the [plugins] paths of an experiment file, which its [data] may need.
void add_plugin_paths(Value& document, const fs::path& file) {
  if (file.extension() != ".toml" || !is_there(file)) return;
  const Value experiment = load_document(file);
  const Value* more = find_path(experiment, "plugins.paths");
  if (more == nullptr || !more->is_array()) return;
  add_plugin_paths(document, more->as_array());
}

}  // namespace

EvaluationSetup::EvaluationSetup(SetupRequest request) : request_(std::move(request)) {
  if (!request_.what.empty() && !is_there(request_.what)) {
    const std::string near = near_path(request_.what);
    throw ConfigError(text("evaluate: ", quoted(request_.what), " does not exist",
                           near.empty() ? "" : text("; did you mean ", quoted(near), "?")));
  }
  refuse_checkpoints_folder(request_.what);
  Value document{Value::Table{}};
  if (!request_.what.empty() && is_of_training(request_.what)) {
    checkpoint_ = Checkpoint::open(fs::canonical(request_.what));
    const Value& config = checkpoint_->config();
    for (const char* key : {kEvaluate, "plugins"}) {
      if (const Value* table = config.find(key)) document.set(key, *table);
    }
    const auto data = read_options<DataOptions>(*config.find("data"));
    shape_ = ImageShape::square(data.channels, data.image_size);
  } else if (request_.size) {
    shape_ = ImageShape::square(3, *request_.size);
  }
  if (!request_.config.empty()) {
    const Value piece = load_document(request_.config);
    Value over{Value::Table{}};
    for (const char* key : {kEvaluate, "plugins"}) {
      if (const Value* table = piece.find(key)) over.set(key, *table);
    }
    if (over.find(kEvaluate) == nullptr) {
      throw ConfigError(text("evaluate: --config ", request_.config, " has no [evaluate]"));
    }
    merge(document, over, &host_schema());
  }
  std::vector<std::string> own;
  for (const std::string& written : request_.overrides) {
    const std::vector<KeyPart> path = split_key_path(written.substr(0, written.find('=')));
    (path.empty() || path.front().name != kEvaluate ? sampling_overrides_ : own).push_back(written);
  }
  if (!checkpoint_ && !sampling_overrides_.empty()) {
    throw ConfigError(text("--set ", quoted(sampling_overrides_.front()),
                           ": nothing is sampled; only keys of [evaluate] "
                           "have an effect here"));
  }
  apply_overrides(document, own);
  const Value* reference = find_path(document, "evaluate.reference");
  const bool is_path = reference != nullptr && reference->is_string();
  const std::string own_reference = is_path ? reference->as_string() : "";
  for (const std::string& file : {request_.what, request_.reference, request_.held_out, own_reference}) {
    add_plugin_paths(document, file);
  }
  base_ = part_of(document, {kEvaluate}, find_plugins(document, request_.plugin_files));
  options_ = evaluate_options(base_.resolved);
}

fs::path EvaluationSetup::run_folder() const {
  return checkpoint_ ? run_of_checkpoint(checkpoint_->path()) : fs::path();
}

std::int64_t EvaluationSetup::threads() const {
  if (!checkpoint_) return 0;
  const Value* threads = find_path(checkpoint_->config(), "run.threads");
  return threads != nullptr && threads->is_integer() ? threads->as_integer() : 0;
}

std::shared_ptr<StoredImages> EvaluationSetup::open(const fs::path& path) {
  const bool decides_shape = !has_images_ && !checkpoint_ && !is_of_any_size(path);
  std::shared_ptr<StoredImages> images = images_at(path, decides_shape ? std::nullopt : shape_, base_);
  const ImageShape shape = images->shape();
  if (decides_shape && request_.size && shape.height != *request_.size) {
    throw ConfigError(text("evaluate: --size ", *request_.size, " does not apply to ", path.string(),
                           ", whose images have ", shape.height,
                           " px; leave it out: other images are resized to those of an NPZ or an experiment file"));
  }
  shape_ = shape;
  has_images_ = true;
  return images;
}

std::string EvaluationSetup::seen_remark(const StoredImages& images, const std::string& name) const {
  return checkpoint_ ? remark_on(seen_of(*checkpoint_), images.places(), name) : "";
}

std::shared_ptr<StoredImages> EvaluationSetup::own_data(std::vector<std::string>& remarks) {
  DataSource source = source_of_table(*checkpoint_->config().find("data"), base_);
  const std::string other = other_images(*checkpoint_, source);
  if (!other.empty()) {
    remarks.push_back(text(other, ". The reference, ", own_data_name(), ", is not what the run was trained with"));
  }
  return images_of_data(source.options, std::move(source.dataset));
}

std::string EvaluationSetup::own_data_name() const {
  if (!checkpoint_) return "";
  const Value& data = *checkpoint_->config().find("data");
  const Value* path = data.find("path");
  return path != nullptr && path->is_string() ? path->as_string() : text("the run's ", data.find("type")->as_string());
}

TrainedWith EvaluationSetup::trained_with(const Judges& judges, std::vector<std::string>& remarks) const {
  if (!checkpoint_) return {};
  const Value& config = checkpoint_->config();
  try {
    return shared_networks(judges, part_of(with_plugins(config, base_), {"metrics", "data"}, base_.host), config,
                           earlier_experiments(run_folder(), config, remarks, checkpoint_->images()), remarks);
  } catch (const EvaluationStopped&) {
    throw;
  } catch (const Error& error) {
    remarks.push_back(
        text("could not check whether a judge is a network that the run was trained with: ", error.what()));
  }
  return {};
}

}  // namespace casdm
