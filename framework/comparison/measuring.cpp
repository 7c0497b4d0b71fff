#include "framework/comparison/measuring.h"

#include <algorithm>
#include <array>
#include <set>

#include "casdm/options.h"
#include "casdm/text.h"
#include "framework/comparison/run_record.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/evaluation/telling_options.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace {

constexpr std::size_t kDigits = 12;  // of a SHA-256
constexpr const char* kReference = "reference";
constexpr const char* kReferenceDigest = "reference.sha256";

std::string word(const std::string& key, const Value& value) {
  if (value.is_string()) {
    return printable(key.ends_with("sha256") ? value.as_string().substr(0, kDigits) : value.as_string());
  }
  if (!value.is_number()) return to_toml_value(value);
  const std::string number = to_toml_value(value);
  return number.ends_with(".0") ? number.substr(0, number.size() - 2) : number;
}

/// Adds the settings in `value`, at any depth. A component's name gets the key of its table.
void add(Settings& settings, const std::string& key, const Value* value) {
  if (value == nullptr || value->is_null()) return;
  if (value->is_table()) {
    for (const auto& [name, member] : value->as_table()) {
      add(settings, name == "type" ? key : text(key, '.', name), &member);
    }
  } else if (value->is_array()) {
    for (std::size_t i = 0; i < value->as_array().size(); ++i) {
      add(settings, text(key, '[', i, ']'), &value->as_array()[i]);
    }
  } else {
    settings[key] = word(key, *value);
  }
}

/// The builds of the plugins that `score` was computed with, as far as the record names them.
std::vector<UsedPlugin> plugins_of(const Value& record, const Value& score) {
  std::vector<UsedPlugin> result;
  std::set<std::string> ids;
  for (const char* key : {"extractor.type", "metric"}) {
    const Value* type = find_path(score, key);
    if (type != nullptr && type->is_string()) ids.insert(type->as_string().substr(0, type->as_string().find('/')));
  }
  for (const std::string& id : ids) {
    const Value* plugins = record.find("plugins");
    const Value* build = plugins == nullptr ? nullptr : plugins->find(id);
    if (build == nullptr || !build->is_string()) continue;
    const std::string::size_type space = build->as_string().rfind(' ');
    if (space == std::string::npos) continue;
    UsedPlugin& plugin = result.emplace_back();
    plugin.id = id;
    plugin.version = build->as_string().substr(0, space);
    plugin.build_id = build->as_string().substr(space + 1);
  }
  return result;
}

bool is_option(const std::string& key) { return key.find('.') != std::string::npos; }

/// The options of a sampler and the number of steps, which follows from them, form one group.
std::string group_of(const std::string& key) { return key == "steps" ? "sampler" : key.substr(0, key.find('.')); }

/// What distinguishes the scores in one setting, in the order of `scores`.
std::vector<std::string> labels_of(const std::string& key, const std::vector<Measure*>& scores) {
  std::set<std::string> asked_for;
  for (const Measure* score : scores) {
    if (!score->measuring.is_own(key)) asked_for.insert(score->measuring.of(key));
  }
  std::vector<std::string> labels;
  std::set<std::string> own;
  for (const Measure* score : scores) {
    const std::string& value = score->measuring.of(key);
    labels.push_back(value);
    if (!asked_for.contains(value)) own.insert(value);
  }
  if (own.size() < 2) return labels;
  for (std::string& value : labels) {
    if (!asked_for.contains(value)) value = "own";
  }
  return labels;
}

/// The table of [[metrics]] whose loss `name` is, or is a part of, with the host's defaults and without the keys that
/// leave the recorded loss as it is; null if it is none's.
Value metric_of(const std::string& name, const Value& experiment) {
  const Value* metrics = experiment.find("metrics");
  if (metrics == nullptr || !metrics->is_array()) return {};
  for (const Value& table : metrics->as_array()) {
    const auto options = read_options<MetricOptions>(table);
    const std::string term =
        "loss.metric." + (options.name.empty() ? component_name(options.metric.type) : options.name);
    if (name != term && !name.starts_with(term + ".")) continue;
    Value result = table;
    const Value of_host = write_options(options);
    for (const auto& [key, value] : of_host.as_table()) result.set(key, value);
    std::erase_if(result.as_table(), [](const Value::Member& member) {
      static const std::set<std::string> of_training = {"name",      "weight",          "mean",   "warmup_images",
                                                        "normalise", "normalise_power", "balance"};
      return of_training.contains(member.first);
    });
    return result;
  }
  return {};
}

/// The same reference may have several names, such as two paths.
void name_references_alike(const std::vector<Measure*>& scores) {
  Settings names;
  for (Measure* score : scores) {
    Settings& settings = score->measuring.settings;
    const std::string& digest = score->measuring.of(kReferenceDigest);
    if (!digest.empty()) settings[kReference] = names.emplace(digest, settings[kReference]).first->second;
  }
}

/// `scores` have the same name.
void tell_apart(const std::vector<Measure*>& scores) {
  name_references_alike(scores);
  std::set<std::string> keys;
  for (const Measure* score : scores) {
    for (const auto& [key, value] : score->measuring.settings) keys.insert(key);
  }
  // By group: an option is named only if it distinguishes scores that the options before it do not.
  std::map<std::string, std::vector<std::string>> labels_before;
  for (const bool of_options : {false, true}) {
    for (const std::string& key : keys) {
      if (is_option(key) != of_options) continue;
      const std::vector<std::string> labels = labels_of(key, scores);
      std::vector<std::string>& before = labels_before.try_emplace(group_of(key), scores.size()).first->second;
      std::vector<std::string> after = before;
      for (std::size_t i = 0; i < labels.size(); ++i) after[i] += text('\n', labels[i]);
      const auto kinds = [](const std::vector<std::string>& all) {
        return std::set<std::string>(all.begin(), all.end()).size();
      };
      if (kinds(of_options ? after : labels) == (of_options ? kinds(before) : 1)) continue;
      before = std::move(after);
      for (std::size_t i = 0; i < labels.size(); ++i) {
        if (!labels[i].empty()) scores[i]->name += text(' ', key, '=', labels[i]);
      }
    }
  }
}

}  // namespace

const std::string& Measuring::of(const std::string& key) const {
  static const std::string none;
  const auto found = settings.find(key);
  return found == settings.end() ? none : found->second;
}

bool Measuring::is_own(const std::string& key) const {
  const auto found = own.find(key);
  return found == own.end() ? !settings.contains(key) : found->second == of(key);
}

Measuring measuring_of(const Value& record, const Value& score, const Value& experiment) {
  Measuring result;
  Settings& settings = result.settings;
  for (const char* key : {"num", "image", kReferenceDigest}) add(settings, key, find_path(record, key));
  add(settings, "reference.num", score.find("reference_num"));
  add(settings, kReference, find_path(record, "reference.name"));
  for (const char* table : {"sampler", "guidance", "noise", "head", "data", "precision"}) {
    const std::string name = table;
    const Value* used = find_path(record, "run." + name);
    if (used == nullptr) continue;
    add(settings, name, used);
    add(result.own, name, find_path(experiment, name == "precision" ? "run.precision" : name));
  }
  const bool is_own_sampler = std::all_of(settings.begin(), settings.end(), [&](const auto& setting) {
    return group_of(setting.first) != "sampler" || result.is_own(setting.first);
  });
  for (const char* key : {"steps", "labels", "conditions_sha256", "seed"})
    add(settings, key, find_path(record, text("run.", key)));
  if (is_own_sampler && settings.contains("sampler")) result.own["steps"] = result.of("steps");
  const Value* labels = find_path(record, "run.labels");
  if (labels != nullptr && labels->is_string()) result.own["labels"] = result.of("labels");
  add(settings, "weights", find_path(record, "run.weights.name"));
  // A file, in whatever folder, is told from an average of the same name.
  if (std::string& weights = settings["weights"]; weights.find('/') != std::string::npos) {
    weights = "." + weights.substr(weights.rfind('/'));
  }
  for (const char* key : {"type", "feature", "input_size", "resize", "weights_sha256"}) {
    add(settings, key == std::string_view("type") ? "judge" : text("judge.", key),
        find_path(score, text("extractor.", key)));
  }
  if (const Value* extractor = score.find("extractor")) {
    const Value options = telling_options(*extractor);
    add(settings, "judge", &options);
  }
  add(settings, "metric", score.find("metric"));
  add(settings, "metric", score.find("metric_options"));
  result.plugins = plugins_of(record, score);
  return result;
}

Measuring measuring_of_logged(const Value& evaluation, const std::string& name, const Value& experiment) {
  Measuring result;
  result.is_logged = true;
  Settings& settings = result.settings;
  for (const char* key : {"num", "weights", "conditions_sha256", "seed"}) add(settings, key, evaluation.find(key));
  add(settings, "reference.num", evaluation.find("reference_num"));
  add(settings, kReferenceDigest, evaluation.find("reference_sha256"));
  add(settings, kReference, find_path(experiment, "evaluate.reference"));
  const Value* judges = find_path(experiment, "evaluate.judges");
  if (judges == nullptr || !judges->is_array()) return result;
  for (const Value& judge : judges->as_array()) {
    const auto said = [&](const char* key) {
      const Value* value = judge.find(key);
      return value != nullptr && value->is_string() ? value->as_string() : "";
    };
    const std::string type = said("type");
    if (name.starts_with(said("name").empty() ? type.substr(type.find('/') + 1) : said("name"))) {
      add(settings, "judge", &judge);
    }
  }
  return result;
}

void add_settings_of_mean(Measuring& measuring, const std::string& name, const Value& experiment) {
  Settings& settings = measuring.settings;
  Value data = images_of(experiment);
  std::erase_if(data.as_table(), [](const Value::Member& member) { return member.first == "use_labels"; });
  add(settings, "data", &data);
  for (const char* table : {"noise", "timesteps"}) add(settings, table, experiment.find(table));
  add(settings, "head", find_path(experiment, "head.type"));
  const Value metric = metric_of(name, experiment);
  add(settings, "metric", &metric);
}

void tell_apart(const std::vector<RunRecord*>& runs) {
  std::map<std::string, std::array<std::vector<Measure*>, 2>> scores;
  for (RunRecord* run : runs) {
    for (Measure& measure : run->measures) {
      if (!measure.score.empty()) scores[measure.score][measure.measuring.is_logged ? 1 : 0].push_back(&measure);
    }
  }
  for (const auto& [name, kinds] : scores) {
    const auto& [recorded, logged] = kinds;
    for (Measure* measure : recorded) measure->name = name;
    for (Measure* measure : logged) measure->name = recorded.empty() ? name : name + " while training";
    tell_apart(recorded);
    tell_apart(logged);
  }
  for (RunRecord* run : runs) run->index_measures();
}

}  // namespace casdm
