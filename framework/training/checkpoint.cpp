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
#include "framework/host/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kFormat = 1;
constexpr const char* kFiles[] = {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"};
constexpr const char* kTimesteps = "timesteps.safetensors";

NamedTensors prefixed(const std::vector<ModuleState>& modules, NamedTensors (ModuleState::*part)() const) {
  NamedTensors all;
  for (const ModuleState& module : modules) {
    for (auto& [name, tensor] : (module.*part)()) all.emplace_back(module.name() + "." + name, tensor);
  }
  return all;
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

}  // namespace

Checkpoint Checkpoint::save(const RunFolder& run, const Value& resolved, const std::vector<UsedPlugin>& plugins,
                            const std::vector<ModuleState>& modules, const NamedTensors& timesteps,
                            const Progression& progression, std::int64_t keep_last) {
  std::string name = std::to_string(progression.images);
  name.insert(0, 12 - std::min<std::size_t>(12, name.size()), '0');
  const fs::path final = run.checkpoints() / name;
  const fs::path temporary = run.checkpoints() / (".tmp-" + name);
  try {
    fs::remove_all(temporary);
    fs::create_directories(temporary);
    write_safetensors(temporary / kFiles[0], prefixed(modules, &ModuleState::weights));
    write_safetensors(temporary / kFiles[1], prefixed(modules, &ModuleState::average));
    write_safetensors(temporary / kFiles[2], prefixed(modules, &ModuleState::moments));
    std::vector<std::string> names(std::begin(kFiles), std::end(kFiles));
    if (!timesteps.empty()) {
      names.emplace_back(kTimesteps);
      write_safetensors(temporary / kTimesteps, timesteps);
    }
    Value files{Value::Table{}};
    for (const std::string& file : names) {
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
  Checkpoint saved;
  saved.path_ = final;
  saved.progression_ = progression;
  saved.config_ = resolved;
  saved.plugins_ = plugins;
  saved.has_timesteps_ = !timesteps.empty();
  return saved;
}

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  if (!fs::exists(path / "state.json")) {
    const std::vector<fs::path> all = checkpoints_in(path / "checkpoints");
    if (all.empty()) throw NoCheckpoint(text(path.string(), " holds no checkpoint"));
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
    for (const char* name : kFiles) member(files, name);
    for (const auto& [name, expected] : files.as_table()) check_file(checkpoint.path_ / name, expected);
    checkpoint.has_timesteps_ = files.find(kTimesteps) != nullptr;
  } catch (const Error& error) {
    throw Error(
        text("checkpoint ", checkpoint.path_.string(), " cannot be used: ", error.what(), others(checkpoint.path_)));
  }
  return checkpoint;
}

void Checkpoint::restore(std::vector<ModuleState>& modules, const NamedTensors& timesteps) const {
  restore_timesteps(timesteps);
  const TensorFile files[] = {read_safetensors(path_ / kFiles[0]), read_safetensors(path_ / kFiles[1]),
                              read_safetensors(path_ / kFiles[2])};
  for (ModuleState& module : modules) {
    const NamedTensors targets[] = {module.weights(), module.average(), module.moments()};
    for (std::size_t i = 0; i < std::size(targets); ++i) {
      load_state(Handles(targets[i]), part_of(files[i].tensors, module.name()),
                 text((path_ / kFiles[i]).string(), ", module ", module.name()));
    }
  }
}

void Checkpoint::restore_timesteps(const NamedTensors& timesteps) const {
  if (has_timesteps_ == timesteps.empty()) {
    throw Error(text("checkpoint ", path_.string(), has_timesteps_ ? " holds" : " holds no",
                     " state of a timestep sampler, and the one of this experiment has ",
                     timesteps.empty() ? "none" : "some", "; resume with the `timesteps` that made the checkpoint"));
  }
  if (!has_timesteps_) return;
  const fs::path file = path_ / kTimesteps;
  load_state(Handles(timesteps), read_safetensors(file).tensors, file.string());
}

void Checkpoint::load_weights(const std::vector<NamedModule>& modules, bool ema) const {
  const fs::path file = path_ / kFiles[ema ? 1 : 0];
  const TensorFile content = read_safetensors(file);
  for (const NamedModule& module : modules) {
    load_state(*module.module, part_of(content.tensors, module.name), text(file.string(), ", module ", module.name));
  }
}

NamedTensors Checkpoint::weights(const std::string& module, bool ema) const {
  const TensorFile content = read_safetensors(path_ / kFiles[ema ? 1 : 0]);
  NamedTensors result = part_of(content.tensors, module);
  if (!result.empty()) return result;
  std::set<std::string> modules;
  for (const auto& [name, tensor] : content.tensors) modules.insert(name.substr(0, name.find('.')));
  throw ConfigError(text(path_.string(), " has no module '", module, "'; it has ",
                         join({modules.begin(), modules.end()}, ", ")));
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
  if (fs::is_regular_file(from)) return read_safetensors(from);
  return {Checkpoint::open(from).weights(module, /*ema=*/true), {}};
}

}  // namespace casdm
