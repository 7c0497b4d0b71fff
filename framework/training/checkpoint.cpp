#include "framework/training/checkpoint.h"

#include <torch/headeronly/version.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "casdm/atomic_file.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"
#include "framework/support/machine.h"
#include "framework/support/run_contents.h"
#include "framework/training/best_checkpoint.h"
#include "framework/training/checkpoint_files.h"
#include "framework/training/damaged_checkpoint.h"
#include "framework/training/module_state.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kCheckpointFormat = 2;
constexpr std::size_t kNameDigits = 12;
constexpr std::size_t kShownBuild = 12;  // digits
constexpr std::uintmax_t kLargestState = 64 << 20;
constexpr const char* kState = "state.json";
constexpr const char* kStateSum = "state.json.sha256";
constexpr std::string_view kAveragePrefix = "ema-";
constexpr std::string_view kSuffix = ".safetensors";

std::string name_of(std::int64_t images) {
  std::string name = std::to_string(images);
  return name.insert(0, kNameDigits - std::min(kNameDigits, name.size()), '0');
}

bool is_name(const std::string& name) {
  return name.size() == kNameDigits &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether the name of tensors can be used as a file name.
bool is_word(const std::string& name) {
  return !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
}

/// The checkpoints in a run's checkpoint folder, oldest first. If all that are listed vanish before they are looked at,
/// a training has put newer ones in their place, and the folder is listed again.
std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<fs::path> result;
  for (bool has_vanished = true; result.empty() && has_vanished;) {
    has_vanished = false;
    std::error_code failure;
    for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
      if (!is_name(entry->path().filename().string())) continue;
      std::error_code ignored;
      if (fs::exists(entry->path() / kState, ignored)) {
        result.push_back(entry->path());
      } else if (fs::symlink_status(entry->path(), ignored).type() == fs::file_type::not_found) {
        has_vanished = true;
      }
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// A member of state.json. Throws Error if it is missing or `is` returns false for it.
const Value& member(const Value& table, const std::string& key, bool (Value::*is)() const, const char* expected) {
  const Value* value = table.find(key);
  if (value == nullptr) throw Error(text("state.json has no '", key, "'"));
  if ((value->*is)()) return *value;
  throw Error(text("state.json has a ", value->type_name(), " as '", key, "': expected ", expected));
}

void check_file(const fs::path& path, const Value& expected) {
  std::error_code failure;
  const auto size = static_cast<std::int64_t>(fs::file_size(path, failure));
  if (failure) throw Error(text(path.string(), " is missing from the checkpoint: ", failure.message()));
  const std::int64_t wanted = member(expected, "bytes", &Value::is_integer, "an integer").as_integer();
  if (size != wanted) {
    throw Error(text(path.string(), size < wanted ? " is truncated: " : " is altered: ", size, " bytes, ", wanted,
                     " were written"));
  }
  if (sha256_of_file(path) != member(expected, "sha256", &Value::is_string, "a string").as_string()) {
    throw Error(text(path.string(), " is altered: its SHA-256 is not the one recorded in state.json"));
  }
}

/// Moves an entry with the name of a new checkpoint out of the way: it does not belong to the training that continues.
void make_way(const fs::path& path) {
  if (!fs::exists(fs::symlink_status(path))) return;
  for (int i = 1;; ++i) {
    const fs::path aside = text(path.string(), ".set-aside-", i);
    if (!fs::exists(fs::symlink_status(aside))) return fs::rename(path, aside);
  }
}

std::string state_sum(std::string_view state) { return text(sha256(state), "  ", kState, "\n"); }

/// Reads a file of the state, which may come from anywhere: a pipe must not block, and a huge file must not exhaust
/// memory.
std::string read_bounded(const fs::path& path) {
  if (!fs::is_regular_file(path)) throw Error(text(path.string(), " is not a regular file"));
  if (fs::file_size(path) > kLargestState)
    throw Error(text(path.string(), " is larger than ", kLargestState, " bytes"));
  return read_file(path);
}

/// Advice for a damaged checkpoint: the run's other checkpoints.
std::string others(const fs::path& checkpoint) {
  std::vector<std::string> names;
  for (const fs::path& other : checkpoints_in(checkpoint.parent_path())) {
    if (other != checkpoint) names.push_back(other.string());
  }
  return names.empty() ? "; the run has no other checkpoint" : "; other checkpoints of the run: " + join(names, ", ");
}

Value state_of(const CheckpointContent& content, const fs::path& folder) {
  Value files{Value::Table{}};
  for (const auto& [name, tensors] : content.tensors) {
    const std::string file = text(name, kSuffix);
    Value entry{Value::Table{}};
    entry.set("bytes", static_cast<std::int64_t>(fs::file_size(folder / file)));
    entry.set("sha256", sha256_of_file(folder / file));
    files.set(file, std::move(entry));
  }
  Value::Array used;
  for (const UsedPlugin& plugin : content.plugins) used.push_back(write_options(plugin));
  Value record{Value::Table{}};
  record.set("format", kCheckpointFormat);
  record.set("libtorch", TORCH_VERSION);
  record.set("machine", machine_description());
  record.set("numbers", content.numbers);
  record.set("plugins", std::move(used));
  record.set("files", std::move(files));
  record.set("config", content.config);
  return record;
}

/// The checkpoint that the link RUN/checkpoints/best names, which another may be later; any other path as it is.
fs::path without_mark(const fs::path& path) {
  const fs::path plain = path.has_filename() ? path : path.parent_path();
  std::error_code failure;
  const fs::path target = fs::read_symlink(plain, failure);
  return !failure && is_name(target.string()) ? plain.parent_path() / target : path;
}

}  // namespace

fs::path Checkpoint::save(const RunFolder& run, const CheckpointContent& content) {
  const fs::path final = path_of(run, content.numbers.find("images")->as_integer());
  bool has_free_name = false;
  try {
    run.sync();
    fs::create_directory(run.checkpoints());
    AtomicFolder folder(final);
    for (const auto& [name, tensors] : content.tensors) {
      if (!is_word(name)) throw Error(text("'", name, "' cannot be the name of a file"));
      write_safetensors(folder.temporary() / text(name, kSuffix), tensors);
    }
    const std::string state = to_json(state_of(content, folder.temporary()), 1) + "\n";
    write_file(folder.temporary() / kState, state);
    write_file(folder.temporary() / kStateSum, state_sum(state));
    make_way(final);
    has_free_name = true;
    folder.commit();
  } catch (const std::exception& error) {
    const std::string what = text("checkpoint ", final.string());
    if (has_free_name && is_there(final)) {
      throw Error(text(what, " is complete, but a power failure may undo it: ", error.what()));
    }
    throw Error(text(what, " could not be saved",
                     checkpoints_in(run.checkpoints()).empty() ? "" : " (earlier ones are kept)", ": ", error.what()));
  }
  return final;
}

fs::path Checkpoint::path_of(const RunFolder& run, std::int64_t images) { return run.checkpoints() / name_of(images); }

fs::path Checkpoint::copy_into(const RunFolder& run) const {
  const fs::path own = path_of(run, images());
  AtomicFolder folder(own);
  std::vector<fs::path> files = {path_ / kState, path_ / kStateSum};
  for (const auto& [name, sum] : files_) files.push_back(file(name));
  for (const fs::path& file : files) {
    if (is_there(file)) link_or_copy(file, folder.temporary());  // version 0.1 wrote no sum
  }
  make_way(own);
  folder.commit();
  return own;
}

void Checkpoint::remove_old(const RunFolder& run, const fs::path& saved, std::int64_t keep_last,
                            const std::function<void(const std::string&)>& warn) {
  remove_leftovers(run.checkpoints());
  const fs::path best = best_checkpoint(run);
  const std::vector<fs::path> all = checkpoints_in(run.checkpoints());
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep_last) < all.size(); ++i) {
    if (all[i] == saved || all[i] == best) continue;
    try {
      const std::vector<std::string> strangers = strangers_in_checkpoint(all[i]);
      if (!strangers.empty()) {
        throw Error(text(quoted(all[i].string()), " is kept: it contains ", quoted(strangers.front()),
                         ", which training did not write"));
      }
      remove_unless_held(all[i]);
    } catch (const std::exception& error) {  // one of the file system, too
      warn(text("an old checkpoint: ", error.what()));
    }
  }
}

std::vector<std::pair<std::int64_t, fs::path>> Checkpoint::all(const RunFolder& run) {
  std::vector<std::pair<std::int64_t, fs::path>> result;
  for (const fs::path& path : checkpoints_in(run.checkpoints())) {
    result.emplace_back(std::stoll(path.filename().string()), path);
  }
  return result;
}

Checkpoint Checkpoint::open(const fs::path& given) {
  Checkpoint checkpoint;
  std::error_code failure;
  const fs::path path = without_mark(given);
  const bool is_checkpoint = fs::exists(path / kState, failure);
  while (!checkpoint.hold_) {
    const std::vector<fs::path> all = is_checkpoint ? std::vector{path} : checkpoints_in(path / "checkpoints");
    if (all.empty()) {
      const bool exists = fs::exists(path, failure);
      throw NoCheckpoint(exists ? text(path.string(), " holds no checkpoint") : why_missing(path));
    }
    checkpoint.path_ = all.back();
    try {
      checkpoint.hold_ = std::make_shared<const FolderHold>(checkpoint.path_);
    } catch (const Error&) {
      if (is_checkpoint || fs::exists(checkpoint.path_))
        throw;  // otherwise it was the newest one and has just been removed
    }
  }
  try {
    checkpoint.read_state(read_bounded(checkpoint.path_ / kState));
  } catch (const Error& error) {
    fail_damaged(checkpoint.path_, error.what());
  }
  return checkpoint;
}

void fail_damaged(const fs::path& folder, const std::string& why) {
  throw Error(text("checkpoint ", folder.string(), " cannot be used: ", why, others(folder)));
}

void Checkpoint::read_state(const std::string& json) {
  const bool has_sum = fs::exists(path_ / kStateSum);
  if (has_sum && read_bounded(path_ / kStateSum) != state_sum(json)) {
    throw Error(text((path_ / kState).string(), " is altered: its SHA-256 is not the one in ", kStateSum));
  }
  const Value record = from_json(json);
  const std::int64_t format = member(record, "format", &Value::is_integer, "an integer").as_integer();
  if (format != 1 && format != kCheckpointFormat) {
    throw Error(text("format ", format, " is not one of this program, which reads 1 and ", kCheckpointFormat));
  }
  if (format == kCheckpointFormat && !has_sum) throw Error(text((path_ / kStateSum).string(), " is missing"));
  if (format == 1) {
    for (const char* key : {"step", "images", "num_classes"}) {
      numbers_.set(key, member(record, key, &Value::is_integer, "an integer"));
    }
    numbers_.set("loss_scales", member(record, "loss_scales", &Value::is_array, "an array"));
  } else {
    numbers_ = member(record, "numbers", &Value::is_table, "a table");
  }
  config_ = member(record, "config", &Value::is_table, "a table");
  for (const Value& plugin : member(record, "plugins", &Value::is_array, "an array").as_array()) {
    plugins_.push_back(read_options<UsedPlugin>(plugin));
  }
  const Value& files = member(record, "files", &Value::is_table, "a table");
  files_sha256_ = sha256(to_json(files));
  for (const auto& [name, expected] : files.as_table()) {
    if (!is_word(name) || !name.ends_with(kSuffix)) throw Error(text("state.json names a file '", name, "'"));
    check_file(path_ / name, expected);
    const std::string& sum = member(expected, "sha256", &Value::is_string, "a string").as_string();
    files_.emplace(name.substr(0, name.size() - kSuffix.size()), sum);
  }
  for (const char* name : {"weights", "ema"}) {
    if (!has(name)) throw Error(text("state.json names no ", name, kSuffix));
  }
  num_classes();
  const std::string name = path_.filename().string();
  if (is_name(name) && name != name_of(images())) {
    throw Error(text("its name says ", name, " images and state.json ", images(), ": was it renamed?"));
  }
}

std::int64_t Checkpoint::count(const std::string& key, std::int64_t most) const {
  const Value* value = numbers_.find(key);
  const bool good = value != nullptr && value->is_integer() && value->as_integer() >= 0 && value->as_integer() <= most;
  if (good) return value->as_integer();
  throw Error(text("'", key, "' is ",
                   value == nullptr      ? "missing"
                   : value->is_integer() ? std::to_string(value->as_integer())
                                         : std::string(value->type_name()),
                   ": expected an integer from 0 to ", most));
}

fs::path Checkpoint::file(const std::string& tensors) const { return path_ / text(tensors, kSuffix); }

NamedTensors Checkpoint::tensors(const std::string& name) const {
  if (!has(name)) throw Error(text("checkpoint ", path_.string(), " has no ", name, kSuffix));
  return read_safetensors(file(name)).tensors;
}

bool Checkpoint::has_average(const std::string& which) const {
  return which == "ema" || which == "raw" || has(text(kAveragePrefix, which));
}

fs::path Checkpoint::file_of(const std::string& weights) const {
  if (weights == "raw") return file("weights");
  std::vector<std::string> names = {"raw", "ema"};
  for (const auto& [name, sum] : files_) {
    if (name.starts_with(kAveragePrefix)) names.push_back(name.substr(kAveragePrefix.size()));
  }
  if (weights == "ema") return file("ema");
  if (std::find(names.begin(), names.end(), weights) != names.end()) return file(text(kAveragePrefix, weights));
  std::error_code failure;
  if (fs::is_regular_file(weights, failure)) return weights;
  const bool exists = fs::exists(weights, failure);
  throw ConfigError(text("there are no weights ", quoted(weights), ": ", path_.string(), " has ", join(names, ", "),
                         exists ? ", and what has that name is not a regular file" : ", and no file has that name"));
}

void Checkpoint::load_weights(const std::vector<NamedModule>& modules, const std::string& which) const {
  const fs::path from = file_of(which);
  const TensorFile content = read_checked_tensors(from);
  for (const NamedModule& module : modules) {
    load_state(*module.module, part_of(content.tensors, module.name), text(from.string(), ", module ", module.name));
  }
}

NamedTensors Checkpoint::weights(const std::string& module, const std::string& which) const {
  const fs::path from = file_of(which);
  const TensorFile content = read_checked_tensors(from);
  std::set<std::string> modules;
  for (const auto& [name, tensor] : content.tensors) modules.insert(name.substr(0, name.find('.')));
  if (modules.contains(module)) return part_of(content.tensors, module);
  throw ConfigError(text(from.string(), " has no module ", quoted(module), "; it has ",
                         join({modules.begin(), modules.end()}, ", ")));
}

std::vector<std::string> Checkpoint::other_builds(const std::vector<UsedPlugin>& now) const {
  const auto in_words = [](const UsedPlugin& plugin) {
    return text(plugin.version, " build ", plugin.build_id.substr(0, kShownBuild));
  };
  std::vector<std::string> others;
  for (const UsedPlugin& plugin : now) {
    const auto before =
        std::find_if(plugins_.begin(), plugins_.end(), [&](const UsedPlugin& p) { return p.id == plugin.id; });
    if (before == plugins_.end() || before->build_id == plugin.build_id) continue;
    others.push_back(text("plugin ", plugin.id, ": ", in_words(*before), " -> ", in_words(plugin)));
  }
  return others;
}

void Checkpoint::check_plugins(const std::vector<UsedPlugin>& now) const {
  const std::vector<std::string> others = other_builds(now);
  if (accepts_plugins_ || others.empty()) return;
  throw PluginError(text("checkpoint ", path_.string(), " was made by other builds of its plugins:\n  ",
                         join(others, "\n  "), "\nPass --allow-rebuilt to continue with the plugins as they are now"));
}

}  // namespace casdm
