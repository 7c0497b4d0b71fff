#include "framework/comparison/provenance.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "casdm/error.h"
#include "casdm/options.h"
#include "casdm/text.h"
#include "framework/config/default_at.h"
#include "framework/config/key_path.h"
#include "framework/loading/discovery.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"
#include "framework/training/learning_rate.h"
#include "framework/training/network_difference.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestState = 64 << 20;
constexpr std::size_t kShownParts = 5;
constexpr std::size_t kShownDigits = 12;
constexpr const char* kLength = "train.total_images";
/// Keys and tables that do not affect what is trained.
constexpr std::array<std::string_view, 11> kBeside = {"log.",       "checkpoint.",  "evaluate.", "sampler.",
                                                      "guidance.",  "plugins.",     "run.name",  "run.directory",
                                                      "run.device", "data.workers", "data.cache"};

/// The resume that a line of the log records; none if the line is another one, or cut off.
std::optional<ResumeRecord> resume_of(std::string_view line) {
  if (!line.starts_with("{\"resumed\"")) return std::nullopt;
  try {
    const Value record = from_json(line);
    const Value* images = record.find("images");
    if (images == nullptr || !images->is_integer()) return std::nullopt;
    ResumeRecord resume{images->as_integer(), {}, {}};
    if (const Value* changed = record.find("changed"); changed != nullptr && changed->is_table()) {
      for (const auto& [key, values] : changed->as_table()) {
        const Value* from = values.find("from");
        const Value* to = values.find("to");
        if (from != nullptr && to != nullptr) resume.changed.push_back({key, *from, *to});
      }
    }
    for (const char* others : {"other_data", "other_networks", "other_plugins"}) {
      const Value* said = record.find(others);
      for (const Value& one : said == nullptr    ? Value::Array()
                              : said->is_array() ? said->as_array()
                                                 : Value::Array{*said}) {
        if (one.is_string()) resume.replaced.push_back(one.as_string());
      }
    }
    return resume;
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// The resumes that have changed something. Of several at one checkpoint the last holds: what the others trained was
/// set aside.
std::vector<ResumeRecord> read_resumes(const std::string& log) {
  std::vector<ResumeRecord> resumes;
  for (std::size_t begin = 0, end; (end = log.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::optional<ResumeRecord> resume = resume_of(std::string_view(log).substr(begin, end - begin));
    if (!resume) continue;
    if (!resumes.empty() && resumes.back().images == resume->images) resumes.pop_back();
    resumes.push_back(std::move(*resume));
  }
  std::erase_if(resumes, [](const ResumeRecord& resume) { return resume.changed.empty() && resume.replaced.empty(); });
  return resumes;
}

/// The weights that init.json records.
std::map<std::string, StartingWeights> start_of(const fs::path& run) {
  std::map<std::string, StartingWeights> start;
  std::error_code ignored;
  if (!fs::exists(run / "init.json", ignored)) return start;
  const Value record = from_json(read_regular_file(run / "init.json", kLargestRecord));
  if (!record.is_table()) return start;
  for (const auto& [module, taken] : record.as_table()) {
    const Value* sha256 = taken.find("sha256");
    const Value* images = taken.find("images");
    if (sha256 == nullptr || !sha256->is_string()) continue;
    start[module].sha256 = sha256->as_string();
    if (images != nullptr && images->is_integer()) start[module].images = images->as_integer();
  }
  return start;
}

std::vector<UsedPlugin> builds_in(const Value& config) {
  std::vector<UsedPlugin> plugins;
  const Value* used = find_path(config, "plugins.used");
  if (used == nullptr || !used->is_array()) return plugins;
  for (const Value& plugin : used->as_array()) plugins.push_back(read_options<UsedPlugin>(plugin));
  return plugins;
}

/// Whether the learning rate of a module would have been another one before `images` if the training had had its later
/// length from the start.
bool moves_rate(const ExperimentChange& length, std::int64_t images, const Value& config) {
  const Value* table = config.find("optimizer");
  if (table == nullptr) return false;
  try {
    const std::int64_t before = read_count(length.before), after = read_count(length.after);
    const auto is_moved = [&](const OptimizerOptions& options) {
      // Under each law the two rates, once they have parted, stay apart until the end of the shorter training.
      return learning_rate(options, images, before) != learning_rate(options, images, after);
    };
    const auto options = read_options<OptimizerOptions>(*table);
    const std::vector<std::string> modules = options.modules();
    return is_moved(options) || std::any_of(modules.begin(), modules.end(),
                                            [&](const std::string& module) { return is_moved(options.of(module)); });
  } catch (const Error&) {  // it is not known that it does not
    return true;
  }
}

/// Whether the training before this change at `images` was another one. Whether a path leads to other data is recorded
/// by itself, and a later version adds keys with their defaults.
bool is_of_training(const ExperimentChange& change, std::int64_t images, const Value& config,
                    const ComponentCatalog& catalog) {
  if (change.key == kLength) return moves_rate(change, images, config);
  const bool is_beside = std::any_of(kBeside.begin(), kBeside.end(), [&](std::string_view beside) {
    return change.key == beside || (beside.ends_with('.') && change.key.starts_with(beside));
  });
  return !is_beside && change.key != "data.path" && !is_new_default(change, config, catalog);
}

/// The first of `parts`, and how many more there are.
std::string first_of(std::vector<std::string> parts, const char* separator) {
  const std::size_t more = parts.size() - std::min(parts.size(), kShownParts);
  parts.resize(parts.size() - more);
  return text(join(parts, separator), more > 0 ? text(separator, "and ", more, " more") : "");
}

std::string other_start(const Provenance& run, const Provenance& other) {
  std::vector<std::string> parts;
  for (const auto& [module, now] : run.start) {
    const auto then = other.start.find(module);
    if (then == other.start.end() || then->second.sha256 == now.sha256) continue;
    const bool has_images = now.images && then->second.images && *now.images != *then->second.images;
    parts.push_back(has_images ? text(module, " of ", *now.images, " images instead of ", *then->second.images)
                               : text(module, " (SHA-256 ", now.sha256.substr(0, kShownDigits), " instead of ",
                                      then->second.sha256.substr(0, kShownDigits), ")"));
  }
  return parts.empty() ? "" : first_of(std::move(parts), ", ");
}

}  // namespace

Provenance read_provenance(const fs::path& folder, const Value& config, const std::string& log) {
  Provenance provenance;
  provenance.resumes = read_resumes(log);
  provenance.plugins = builds_in(config);
  const Value state = newest_state(folder);
  try {
    if (const Value* networks = find_path(state, "numbers.networks")) provenance.networks = *networks;
    if (const Value* data = find_path(state, "numbers.data")) provenance.data = fingerprint_from(*data);
    provenance.start = start_of(folder);
  } catch (const Error&) {  // a resume reports what is damaged
  }
  return provenance;
}

std::vector<std::string> earlier_settings(const Provenance& provenance, const Value& config) {
  std::vector<std::string> clauses;
  if (provenance.resumes.empty()) return clauses;
  const PluginCatalog catalog = PluginCatalog::discover({{}, plugin_paths(config)});
  for (const ResumeRecord& resume : provenance.resumes) {
    if (resume.images == 0) continue;  // nothing was trained before it
    std::vector<std::string> parts;
    for (const ExperimentChange& change : resume.changed) {
      if (is_of_training(change, resume.images, config, catalog)) parts.push_back(to_string(change));
    }
    parts.insert(parts.end(), resume.replaced.begin(), resume.replaced.end());
    if (parts.empty()) continue;
    clauses.push_back(text("until ", resume.images, " images: ", first_of(std::move(parts), "; ")));
  }
  return clauses;
}

std::vector<std::string> unlike(const Provenance& run, const Provenance& other, const std::string& name_of_other) {
  std::vector<std::string> found;
  const auto add = [&](const char* what, const std::string& how) {
    if (!how.empty()) found.push_back(text(what, " than ", name_of_other, ": ", how));
  };
  if (run.data && other.data) add("trained with other data", what_differs(*other.data, *run.data));
  add("started from other weights", other_start(run, other));
  if (run.networks.is_table() && other.networks.is_table()) {
    add("trained with other weights of fixed networks", difference_of_networks(other.networks, run.networks));
  }
  add("trained with other builds of plugins", other_builds(run.plugins, other.plugins));
  return found;
}

std::string other_builds(const std::vector<UsedPlugin>& plugins, const std::vector<UsedPlugin>& other) {
  const auto build = [](const UsedPlugin& plugin, const UsedPlugin& beside) {
    const std::string version = plugin.version == beside.version ? "" : plugin.version + " ";
    return version + plugin.build_id.substr(0, kShownDigits);
  };
  std::vector<std::string> parts;
  for (const UsedPlugin& now : plugins) {
    const auto then =
        std::find_if(other.begin(), other.end(), [&](const UsedPlugin& plugin) { return plugin.id == now.id; });
    if (then == other.end() || then->build_id == now.build_id) continue;
    parts.push_back(text(now.id, " (", build(now, *then), " instead of ", build(*then, now), ")"));
  }
  return parts.empty() ? "" : first_of(std::move(parts), ", ");
}

Value newest_state(const fs::path& run) {
  std::vector<fs::path> states;
  std::error_code failure;
  for (fs::directory_iterator entry(run / "checkpoints", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    const bool is_checkpoint = name.size() == 12 && name.find_first_not_of("0123456789") == std::string::npos;
    if (is_checkpoint && fs::exists(entry->path() / "state.json")) states.push_back(entry->path() / "state.json");
  }
  if (states.empty()) return {};
  try {
    return from_json(read_regular_file(*std::max_element(states.begin(), states.end()), kLargestState));
  } catch (const Error&) {
    return {};
  }
}

}  // namespace casdm
