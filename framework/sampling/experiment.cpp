#include "framework/sampling/experiment.h"

#include <algorithm>
#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/overrides.h"

namespace casdm {

namespace {

/// The part of the experiment's schema that sampling uses; unless `keeps_data`, [data] has only the host's keys.
OptionSchema sampling_schema(bool keeps_data) {
  OptionSchema schema = schema_of<Experiment>();
  std::erase_if(schema, [](const OptionSpec& option) {
    const std::vector<std::string> used = {"run",  "data",    "augmentation", "noise",
                                           "head", "sampler", "guidance",     "plugins"};
    return std::find(used.begin(), used.end(), option.name) == used.end();
  });
  for (OptionSpec& option : schema) {
    if (option.name == "data" && !keeps_data) option.component_kind.clear();
  }
  return schema;
}

const OptionSpec* find(const OptionSchema& schema, const std::string& name) {
  const auto found = std::find_if(schema.begin(), schema.end(), [&](const OptionSpec& o) { return o.name == name; });
  return found != schema.end() ? &*found : nullptr;
}

void keep_known(Value& table, const OptionSchema& schema) {
  std::erase_if(table.as_table(), [&](const Value::Member& member) { return find(schema, member.first) == nullptr; });
}

/// Refuses keys of an experiment that sampling ignores; unknown keys are left to the schema's check.
void check_override(const std::string& written, const OptionSchema& used, bool keeps_data) {
  const std::vector<KeyPart> path = split_key_path(written.substr(0, written.find('=')));
  if (path.empty() || find(schema_of<Experiment>(), path.front().name) == nullptr) return;
  const OptionSpec* table = find(used, path.front().name);
  const bool is_of_data =
      !keeps_data && path.front().name == "data" && path.size() > 1 && find(table->fields, path[1].name) == nullptr;
  const std::map<std::string, std::vector<std::string>> unused = {
      {"run", {"name", "seed", "directory"}},
      {"data", {"random_flip", "workers", "cache", "use_labels", "label_dropout"}}};
  const auto of_table = unused.find(path.front().name);
  const bool is_unused =
      of_table != unused.end() && path.size() > 1 &&
      std::find(of_table->second.begin(), of_table->second.end(), path[1].name) != of_table->second.end();
  if (table != nullptr && !is_of_data && !is_unused) return;
  throw ConfigError(text("--set ", quoted(written), ": sampling does not use this key",
                         is_unused && path[1].name == "seed" ? "; the seed of the images is --seed N" : ""));
}

}  // namespace

LoadedExperiment sampling_experiment(const Value& config, bool keeps_data, const std::vector<std::string>& overrides,
                                     const std::vector<std::filesystem::path>& plugin_files) {
  const OptionSchema schema = sampling_schema(keeps_data);
  for (const std::string& written : overrides) check_override(written, schema, keeps_data);
  Value document = config;
  keep_known(document, schema);
  Value* data = document.find("data");
  if (data != nullptr && !keeps_data) keep_known(*data, find(schema, "data")->fields);
  apply_overrides(document, overrides);
  return resolve_experiment(document, plugin_files, schema, Missing::kept);
}

}  // namespace casdm
