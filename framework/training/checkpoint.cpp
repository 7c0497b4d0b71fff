#include "framework/training/checkpoint.h"

#include <fcntl.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kFormat = 1;
constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kTimesteps = "timesteps.safetensors";
constexpr std::string_view kAveragePrefix = "ema-";
constexpr std::string_view kSuffix = ".safetensors";

std::string average_file(const std::string& name) {
  return name == "ema" ? "ema.safetensors" : text(kAveragePrefix, name, kSuffix);
}

/// The tensors whose names begin with "<module>.", without it.
NamedTensors part_of(const NamedTensors& all, const std::string& module) {
  NamedTensors result;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(module + ".")) result.emplace_back(name.substr(module.size() + 1), tensor);
  }
  return result;
}

/// A view of named tensors as a module, for load_state's checks.
class Handles final : public Module {
 public:
  explicit Handles(NamedTensors tensors) : tensors_(std::move(tensors)) {}
  NamedTensors parameters() const override { return tensors_; }

 private:
  NamedTensors tensors_;
};

std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<fs::path> result;
  if (!fs::is_directory(folder)) return result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && fs::exists(entry.path() / "state.json")) result.push_back(entry.path());
  }
  std::sort(result.begin(), result.end());
  return result;
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

const Value& member(const Value& table, std::string_view key) {
  const Value* value = table.find(key);
  if (value == nullptr) throw Error(text("key '", key, "' is missing"));
  return *value;
}

void check_file(const fs::path& path, const Value& expected) {
  if (!fs::exists(path)) throw Error(text(path.string(), " is missing from the checkpoint"));
  const auto size = static_cast<std::int64_t>(fs::file_size(path));
  const std::int64_t wanted = member(expected, "bytes").as_integer();
  if (size != wanted) {
    throw Error(text(path.string(), size < wanted ? " is truncated: " : " is altered: ", size, " bytes, ", wanted,
                     " were written"));
  }
  if (sha256_of_file(path) != member(expected, "sha256").as_string()) {
    throw Error(text(path.string(), " is altered: its SHA-256 is not the one recorded in state.json"));
  }
}

/// What to do about a damaged checkpoint: the others that the run has.
std::string others(const fs::path& checkpoint) {
  std::vector<std::string> names;
  for (const fs::path& other : checkpoints_in(checkpoint.parent_path())) {
    if (other != checkpoint) names.push_back(other.string());
  }
  return names.empty() ? "; the run has no other checkpoint" : "; other checkpoints of the run: " + join(names, ", ");
}

/// Writes the tensors of a checkpoint; returns the names of the files.
std::vector<std::string> write_tensors(const fs::path& folder, const std::vector<ModuleState>& modules,
                                       const NamedTensors& timesteps) {
  std::vector<std::string> files = {kWeights, kOptimizer};
  write_safetensors(folder / kWeights, prefixed(modules, [](const ModuleState& module) { return module.weights(); }));
  write_safetensors(folder / kOptimizer, prefixed(modules, [](const ModuleState& module) { return module.moments(); }));
  for (std::size_t i = 0; i < modules.front().rules().size(); ++i) {
    files.push_back(average_file(modules.front().rules()[i].name()));
    write_safetensors(folder / files.back(), average_of(modules, i));
  }
  if (!timesteps.empty()) {
    files.emplace_back(kTimesteps);
    write_safetensors(folder / kTimesteps, timesteps);
  }
  return files;
}

}  // namespace

Checkpoint Checkpoint::save(const RunFolder& run, const Value& resolved, const std::vector<UsedPlugin>& plugins,
                            const std::vector<ModuleState>& modules, const NamedTensors& timesteps,
                            const Progression& progression, std::int64_t keep_last) {
  std::string name = std::to_string(progression.images);
  name.insert(0, 12 - std::min<std::size_t>(12, name.size()), '0');
  const fs::path final = run.checkpoints() / name;
  const fs::path temporary = run.checkpoints() / (".tmp-" + name);
  Checkpoint saved;
  try {
    fs::remove_all(temporary);
    fs::create_directories(temporary);
    saved.files_ = write_tensors(temporary, modules, timesteps);
    Value files{Value::Table{}};
    for (const std::string& file : saved.files_) {
      Value entry{Value::Table{}};
      entry.set("bytes", static_cast<std::int64_t>(fs::file_size(temporary / file)));
      entry.set("sha256", sha256_of_file(temporary / file));
      files.set(file, std::move(entry));
    }
    Value record{Value::Table{}};
    record.set("format", kFormat);
    record.set("libtorch", TORCH_VERSION);
    record.set("step", progression.step);
    record.set("images", progression.images);
    record.set("num_classes", progression.num_classes);
    record.set("loss_scales", Value::Array(progression.loss_scales.begin(), progression.loss_scales.end()));
    Value::Array used;
    for (const UsedPlugin& plugin : plugins) used.push_back(write_options(plugin));
    record.set("plugins", std::move(used));
    record.set("files", std::move(files));
    record.set("config", resolved);
    write_file(temporary / "state.json", to_json(record, 1) + "\n");
    fs::remove_all(final);
    fs::rename(temporary, final);
    sync_folder(run.checkpoints());
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Error(text("checkpoint ", final.string(), " could not be saved (earlier ones are kept): ", error.what()));
  }
  std::vector<fs::path> all = checkpoints_in(run.checkpoints());
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep_last) < all.size(); ++i) fs::remove_all(all[i]);
  saved.path_ = final;
  saved.progression_ = progression;
  saved.config_ = resolved;
  saved.plugins_ = plugins;
  return saved;
}

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  if (!fs::exists(path / "state.json")) {
    const std::vector<fs::path> all = checkpoints_in(path / "checkpoints");
    if (all.empty())
      throw NoCheckpoint(text(path.string(), fs::exists(path) ? " holds no checkpoint" : " does not exist"));
    checkpoint.path_ = all.back();
  }
  const fs::path file = checkpoint.path_ / "state.json";
  try {
    const Value record = from_json(read_file(file));
    if (member(record, "format").as_integer() != kFormat) {
      throw Error(
          text("format ", member(record, "format").as_integer(), " is not the format ", kFormat, " of this program"));
    }
    checkpoint.progression_.step = member(record, "step").as_integer();
    checkpoint.progression_.images = member(record, "images").as_integer();
    checkpoint.progression_.num_classes = member(record, "num_classes").as_integer();
    for (const Value& scale : member(record, "loss_scales").as_array()) {
      checkpoint.progression_.loss_scales.push_back(scale.as_number());
    }
    for (const Value& plugin : member(record, "plugins").as_array()) {
      checkpoint.plugins_.push_back(read_options<UsedPlugin>(plugin));
    }
    checkpoint.config_ = member(record, "config");
    const Value& files = member(record, "files");
    for (const std::string& name : {std::string(kWeights), average_file("ema"), std::string(kOptimizer)}) {
      member(files, name);
    }
    for (const auto& [name, expected] : files.as_table()) {
      check_file(checkpoint.path_ / name, expected);
      checkpoint.files_.push_back(name);
    }
  } catch (const Error& error) {
    throw Error(
        text("checkpoint ", checkpoint.path_.string(), " cannot be used: ", error.what(), others(checkpoint.path_)));
  }
  return checkpoint;
}

void Checkpoint::restore(std::vector<ModuleState>& modules, const NamedTensors& timesteps) const {
  restore_timesteps(timesteps);
  const auto load = [&](const std::string& name, auto&& part) {
    if (!has(name)) {
      throw Error(text("checkpoint ", path_.string(), " has no ", name,
                       ": the average is not as old as the run; leave it out of [[ema.also]], or train a new run"));
    }
    const TensorFile content = read_safetensors(path_ / name);
    for (ModuleState& module : modules) {
      load_state(Handles(part(module)), part_of(content.tensors, module.name()),
                 text((path_ / name).string(), ", module ", module.name()));
    }
  };
  load(kWeights, [](const ModuleState& module) { return module.weights(); });
  load(kOptimizer, [](const ModuleState& module) { return module.moments(); });
  for (std::size_t i = 0; i < modules.front().rules().size(); ++i) {
    load(average_file(modules.front().rules()[i].name()), [i](const ModuleState& module) { return module.average(i); });
  }
}

void Checkpoint::restore_timesteps(const NamedTensors& timesteps) const {
  if (has(kTimesteps) == timesteps.empty()) {
    throw Error(text("checkpoint ", path_.string(), has(kTimesteps) ? " holds" : " holds no",
                     " state of a timestep sampler, and the one of this experiment has ",
                     timesteps.empty() ? "none" : "some", "; resume with the `timesteps` that made the checkpoint"));
  }
  if (timesteps.empty()) return;
  const fs::path file = path_ / kTimesteps;
  load_state(Handles(timesteps), read_safetensors(file).tensors, file.string());
}

bool Checkpoint::has(const std::string& file) const {
  return std::find(files_.begin(), files_.end(), file) != files_.end();
}

fs::path Checkpoint::file_of(const std::string& weights) const {
  if (weights == "raw") return path_ / kWeights;
  std::vector<std::string> names = {"raw", "ema"};
  for (const std::string& file : files_) {
    if (!file.starts_with(kAveragePrefix)) continue;
    names.push_back(file.substr(kAveragePrefix.size(), file.size() - kAveragePrefix.size() - kSuffix.size()));
  }
  if (std::find(names.begin(), names.end(), weights) != names.end()) return path_ / average_file(weights);
  if (fs::is_regular_file(weights)) return weights;
  throw ConfigError(text("there are no weights \"", weights, "\": ", path_.string(), " has ", join(names, ", "),
                         ", and no file has that name"));
}

void Checkpoint::load_weights(const std::vector<NamedModule>& modules, const std::string& which) const {
  const fs::path file = file_of(which);
  const TensorFile content = read_safetensors(file);
  for (const NamedModule& module : modules) {
    load_state(*module.module, part_of(content.tensors, module.name), text(file.string(), ", module ", module.name));
  }
}

NamedTensors Checkpoint::weights(const std::string& module, const std::string& which) const {
  const TensorFile content = read_safetensors(file_of(which));
  NamedTensors result = part_of(content.tensors, module);
  if (!result.empty()) return result;
  std::set<std::string> modules;
  for (const auto& [name, tensor] : content.tensors) modules.insert(name.substr(0, name.find('.')));
  throw ConfigError(
      text(path_.string(), " has no module '", module, "'; it has ", join({modules.begin(), modules.end()}, ", ")));
}

void Checkpoint::check_plugins(const std::vector<UsedPlugin>& now) const {
  std::vector<std::string> differences;
  for (const UsedPlugin& plugin : now) {
    const auto before =
        std::find_if(plugins_.begin(), plugins_.end(), [&](const UsedPlugin& p) { return p.id == plugin.id; });
    if (before == plugins_.end() || before->build_id == plugin.build_id) continue;
    differences.push_back(text(plugin.id, ": checkpoint ", before->version, " build ", before->build_id.substr(0, 12),
                               ", now ", plugin.version, " build ", plugin.build_id.substr(0, 12)));
  }
  if (differences.empty()) return;
  throw PluginError(text("checkpoint ", path_.string(), " was made by other builds of its plugins:\n  ",
                         join(differences, "\n  "),
                         "\nPass --allow-rebuilt to go on with the plugins as they are now"));
}

TensorFile pretrained(const fs::path& from, const std::string& module) {
  if (!fs::is_regular_file(from)) return {Checkpoint::open(from).weights(module, "ema"), {}};
  TensorFile file = read_safetensors(from);
  NamedTensors of_module = part_of(file.tensors, module);
  if (!of_module.empty()) file.tensors = std::move(of_module);
  return file;
}

}  // namespace casdm
