#include "framework/training/network_check.h"

#include <iostream>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/interchange/recorded_options.h"
#include "framework/interchange/weight_layouts.h"
#include "framework/support/broken_tensors.h"
#include "framework/training/experiment_change.h"

namespace casdm {

void report_other_meaning(std::string_view what, const Value& theirs, const Value& ours,
                          const ComponentCatalog& catalog) {
  if (theirs.is_null()) return;
  Value before = theirs;
  const Value after = meaning_of(ours);
  std::vector<std::string> lines;
  const Value* head = before.find("head");
  if (head != nullptr && head->find("type") != nullptr &&
      to_json(*head->find("type")) != to_json(*after.find("head")->find("type"))) {
    lines.push_back("\n  [head] was " + to_json(*head));
    before.set("head", *after.find("head"));
  }
  for (const ExperimentChange& change : changes(before, after)) {
    if (!is_new_default(change, ours, catalog)) lines.push_back("\n  " + to_string(change));
  }
  if (lines.empty()) return;
  std::cerr << what << ':' << join(lines, "") << '\n';
}

void check_network(const Pretrained& weights, const std::string& source, const Value& experiment,
                   const std::string& module, const PluginHost& host) {
  const std::string where = "head." + module;
  const Value* table = find_path(experiment, where);
  const Value* ours = table != nullptr ? table->find("type") : nullptr;
  if (ours == nullptr) return;
  const auto full_name = [&](const Value& type) { return host.catalog().full_name(Backbone::kind, type.as_string()); };
  const std::string backbone = full_name(*ours);
  const std::int64_t size = find_path(experiment, "data.image_size")->as_integer();
  const std::vector<FoundLayout> layouts = weight_layouts(host, backbone, size);
  const FoundLayout* native = native_layout(layouts, backbone);
  const auto check = [&](const Value& recorded) {
    check_unseen_options(native, weights.file.tensors, recorded, *table, size, source, where);
  };
  const Value recorded = recorded_options(weights.file.metadata, source);
  if (!recorded.as_table().empty()) check(recorded);
  const Value* theirs = weights.network.find("type");
  if (theirs == nullptr) return;
  if (theirs->as_string() != ours->as_string() && full_name(*theirs) != backbone) {
    throw ConfigError(text(source, " holds weights of ", quoted(theirs->as_string()), ", and ", where, " is ",
                           quoted(ours->as_string())));
  }
  if (native != nullptr) return check(weights.network);
  for (const ExperimentChange& change : changes(weights.network, *table)) {
    if (change.key == "type") continue;
    std::cerr << "warning: " << where << " differs from " << source << ": " << to_string(change) << '\n';
  }
}

void check_weights_file(const std::string& file, const std::vector<std::string>& modules, const Value& experiment,
                        const PluginHost& host) {
  for (const std::string& module : modules) {
    const Pretrained weights = pretrained(file, module);
    refuse_nan(weights.file.tensors, file);
    check_network(weights, file, experiment, module, host);
    if (&module == &modules.front()) {
      report_other_meaning(text(file, " was trained for other settings"), weights.meaning, experiment, host.catalog());
    }
  }
}

void check_networks(const Checkpoint& checkpoint, const Value& experiment, const std::vector<std::string>& modules,
                    const PluginHost& host) {
  for (const std::string& module : modules) {
    const std::string where = "head." + module;
    const Value* before = find_path(checkpoint.config(), where);
    const Value* now = find_path(experiment, where);
    if (before == nullptr || now == nullptr || changes(*before, *now).empty()) continue;
    check_network(pretrained(checkpoint, module), checkpoint.path().string(), experiment, module, host);
  }
}

}  // namespace casdm
