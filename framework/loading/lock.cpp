#include "framework/loading/lock.h"

#include <algorithm>
#include <map>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/loading/origins.h"
#include "framework/loading/trusted_path.h"
#include "framework/support/files.h"

namespace casdm {

namespace {

/// Collects the plugins in the `type = "plugin/component"` of every table.
void collect_ids(const Value& value, std::set<std::string>& ids) {
  if (value.is_array()) {
    for (const Value& element : value.as_array()) collect_ids(element, ids);
  }
  if (!value.is_table()) return;
  const Value* type = value.find("type");
  if (type != nullptr && type->is_string()) ids.insert(type->as_string().substr(0, type->as_string().find('/')));
  for (const auto& [key, member] : value.as_table()) collect_ids(member, ids);
}

Location place_of_id(const Value::Array& lock, std::size_t index) {
  Location location = lock[index].find("id")->location();
  location.key = text("plugins.lock.", index, ".id");
  return location;
}

/// Only the first of several entries would hold.
void refuse_repeated(const std::vector<LockedPlugin>& entries, const Value::Array& lock) {
  std::map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].id.empty()) continue;
    const auto [first, is_new] = known.emplace(entries[i].id, i);
    if (is_new) continue;
    fail_at(place_of_id(lock, i), text(quoted(entries[i].id), " is in the lock twice, first as ",
                                       placed(place_of_id(lock, first->second), "keep one of the two")));
  }
}

}  // namespace

std::vector<const FoundPlugin*> plugins_of(const Value& resolved, const PluginCatalog& catalog) {
  std::set<std::string> ids;
  collect_ids(resolved, ids);
  std::vector<const FoundPlugin*> result;
  for (const FoundPlugin& plugin : catalog.plugins()) {
    if (plugin.problem.empty() && ids.contains(plugin.description.info.id)) result.push_back(&plugin);
  }
  return result;
}

std::vector<LockedPlugin> lock_of(const std::vector<const FoundPlugin*>& plugins) {
  std::vector<LockedPlugin> lock;
  for (const FoundPlugin* plugin : plugins) lock.push_back({plugin->description.info.id, sha256_of_file(plugin->path)});
  return lock;
}

std::vector<LockedPlugin> lock_in(const Value& experiment) {
  const Value* plugins = experiment.find("plugins");
  const Value* lock = plugins != nullptr ? plugins->find("lock") : nullptr;
  if (lock == nullptr) return {};
  if (!lock->is_array()) return {LockedPlugin{}};
  std::vector<LockedPlugin> result;
  for (const Value& entry : lock->as_array()) {
    const Value* id = entry.find("id");
    const Value* sum = entry.find("sha256");
    const bool is_entry = id != nullptr && id->is_string() && sum != nullptr && sum->is_string();
    result.push_back(is_entry ? LockedPlugin{id->as_string(), sum->as_string()} : LockedPlugin{});
  }
  refuse_repeated(result, lock->as_array());
  return result;
}

std::string lock_problem(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock) {
  if (lock.empty()) return "";
  const std::string& id = plugin.description.info.id;
  const std::string name = text(id, " (", plugin.path.string(), ")");
  const auto entry = std::find_if(lock.begin(), lock.end(), [&](const LockedPlugin& p) { return p.id == id; });
  if (entry == lock.end()) return text(name, " is not in the lock");
  const std::string now = sha256_of_file(plugin.path);
  return now == entry->sha256 ? "" : text(name, " has the SHA-256 ", now, ", the lock says ", entry->sha256);
}

void fail_locked(const std::vector<std::string>& problems) {
  if (problems.empty()) return;
  throw PluginError(text("[[plugins.lock]] of the experiment does not allow these plugins:\n  ", join(problems, "\n  "),
                         "\nIf they are what you want, replace all of [[plugins.lock]] by what `casdm plugins lock "
                         "--config FILE` prints. The lock of a run stays: to judge it with more plugins, write "
                         "[evaluate] and what the command prints for the run's config.toml into a file, and evaluate "
                         "with --config and that file"));
}

void check_lock(const Value& resolved, const std::vector<LockedPlugin>& lock, const PluginCatalog& catalog) {
  std::vector<std::string> problems;
  for (const FoundPlugin* plugin : plugins_of(resolved, catalog)) {
    std::string problem = lock_problem(*plugin, lock);
    if (!problem.empty()) problems.push_back(std::move(problem));
  }
  fail_locked(problems);
}

void require_consent(const FoundPlugin& plugin) {
  if (plugin.origin != kConfigOrigin || trusts_plugins()) return;
  const std::string objection = objection_to(plugin.path);
  if (objection.empty()) return;
  throw PluginError(text(plugin.path.string(), " is named by [plugins] paths of the experiment and ", objection,
                         ". If you trust it as you trust a program, pass --trust-plugins once; it is remembered ",
                         "for this file as it is now"));
}

}  // namespace casdm
