#include "framework/config/void_options.h"

#include <algorithm>
#include <iostream>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/walk.h"
#include "framework/config/wording.h"

namespace casdm {

namespace {

bool is_equal(const Value& a, const Value& b) {
  return a.is_number() && b.is_number() ? a.as_number() == b.as_number() : a == b;
}

const OptionSpec* find_option(const OptionSchema& schema, const std::string& name) {
  const auto found = std::find_if(schema.begin(), schema.end(), [&](const OptionSpec& o) { return o.name == name; });
  return found == schema.end() ? nullptr : &*found;
}

/// Whether an option has no effect given `other`, the value in `table` of the option in its condition.
bool is_void(const OptionCondition& condition, const Value& other, const OptionSchema& schema) {
  if (condition.is_excluded && condition.values.empty()) {
    const OptionSpec* spec = find_option(schema, condition.option);
    return spec != nullptr && !is_equal(other, spec->default_value);
  }
  const bool is_listed = std::any_of(condition.values.begin(), condition.values.end(),
                                     [&](const Value& value) { return is_equal(value, other); });
  return is_listed == condition.is_excluded;
}

/// A table with a schema, in an experiment.
struct Surroundings {
  const Value& experiment;
  const Value& table;
  const OptionSchema& schema;

  /// The value of the option in a condition, beside the option that has it or elsewhere; null: there is none.
  const Value* other(const OptionCondition& condition) const {
    const bool is_elsewhere = condition.option.find('.') != std::string::npos;
    return is_elsewhere ? find_path(experiment, condition.option) : table.find(condition.option);
  }
};

/// The first condition of an option that is not met; null: it has an effect there.
const OptionCondition* unmet_condition(const OptionSpec& spec, const Surroundings& place) {
  const auto found = std::find_if(spec.conditions.begin(), spec.conditions.end(), [&](const OptionCondition& c) {
    const Value* other = place.other(c);
    return other != nullptr && is_void(c, *other, place.schema);
  });
  return found == spec.conditions.end() ? nullptr : &*found;
}

/// `outer` with the keys of a table in it that takes from it what it does not give.
Value with(Value outer, const Value& inner) {
  for (const auto& [key, value] : inner.as_table()) outer.set(key, value);
  return outer;
}

std::string says_void(const OptionCondition& condition, const Value& other) {
  std::vector<std::string> needed;
  for (const Value& value : condition.values) needed.push_back(to_toml_value(value));
  return text("it has no effect with ", condition.option, " = ", to_toml_value(other),
              condition.is_excluded ? "" : text(", only with ", join(needed, " or ")), "; leave it out, or change ",
              condition.option);
}

/// The tables of [optimizer] for modules that [[init]] freezes.
void add_frozen(const Value& experiment, std::vector<VoidOption>& result) {
  const Value *starts = experiment.find("init"), *optimizer = experiment.find("optimizer");
  if (starts == nullptr || optimizer == nullptr) return;
  for (std::size_t i = 0; i < starts->as_array().size(); ++i) {
    const auto start = read_options<InitOptions>(starts->as_array()[i]);
    const Value* own = start.freeze ? optimizer->find(start.module) : nullptr;
    if (own == nullptr || !own->is_table() || own->as_table().empty()) continue;
    result.push_back({own->location(), key_path("optimizer", start.module),
                      text("init.", i, " freezes the module, so nothing in this table has an effect; leave the table ",
                           "out, or the module trainable")});
  }
}

/// [ema] warmup where no average has a decay.
void add_warmup(const Value& experiment, std::vector<VoidOption>& result) {
  const Value* table = experiment.find("ema");
  if (table == nullptr) return;
  const auto ema = read_options<EmaOptions>(*table);
  const bool has_decay = ema.half_life == 0 || std::any_of(ema.also.begin(), ema.also.end(),
                                                           [](const auto& also) { return also.decay.has_value(); });
  if (ema.warmup == EmaOptions().warmup || has_decay) return;
  result.push_back({place_in(table->location(), *table->find("warmup"), "warmup"), "ema.warmup",
                    "it is of averages with a decay, and there is none; leave it out"});
}

/// [[metrics]] mean = "active" of metrics that act on all images.
void add_means(const Value& experiment, std::vector<VoidOption>& result) {
  const Value* metrics = experiment.find("metrics");
  if (metrics == nullptr) return;
  for (std::size_t i = 0; i < metrics->as_array().size(); ++i) {
    const Value& table = metrics->as_array()[i];
    const auto metric = read_options<MetricOptions>(table);
    const bool is_of_all = metric.t_range == MetricOptions().t_range && !metric.noise_range && metric.share == 1;
    if (metric.mean != MetricMean::active || !is_of_all) continue;
    result.push_back({place_in(table.location(), *table.find("mean"), "mean"), text("metrics.", i, ".mean"),
                      "the metric acts on all images; give it a t_range, a noise_range or a share, or leave this out"});
  }
}

bool is_override(const Location& location) { return location.file.starts_with("--set"); }

}  // namespace

std::vector<VoidOption> void_options(const Value& experiment, const ComponentCatalog& catalog) {
  std::vector<VoidOption> result;
  Visitors visitors;
  visitors.table = [&](const VisitedTable& visited) {
    const auto& [table, options, location, key, outer, inheriting] = visited;
    const Value whole = outer != nullptr ? with(*outer, table) : table;
    for (const OptionSpec& spec : options) {
      const Value* value = spec.conditions.empty() ? nullptr : table.find(spec.name);
      if (value == nullptr || is_equal(*value, spec.default_value)) continue;
      const Surroundings inside{experiment, whole, options};
      const OptionCondition* unmet = unmet_condition(spec, inside);
      const bool has_effect = std::any_of(inheriting.begin(), inheriting.end(), [&](const Value* inner) {
        const Value inherited = with(visited.table, *inner);
        return inner->find(spec.name) == nullptr &&
               unmet_condition(spec, {experiment, inherited, visited.options}) == nullptr;
      });
      if (unmet == nullptr || has_effect) continue;
      const Value& other = *inside.other(*unmet);
      const Location place = place_in(location, *value, spec.name);
      result.push_back({place, key_path(key, spec.name), says_void(*unmet, other),
                        is_override(other.location()) && !is_override(place)});
    }
  };
  // What a run that is sampled was trained with may be gone.
  walk(experiment, host_schema(), catalog, visitors, Missing::kept);
  add_frozen(experiment, result);
  add_warmup(experiment, result);
  add_means(experiment, result);
  return result;
}

void report_void_options(const Value& experiment, const ComponentCatalog& catalog) {
  for (const VoidOption& option : void_options(experiment, catalog)) report_void_option(option);
}

void report_void_option(const VoidOption& option) {
  std::cerr << "warning: " << option.location.key << ": " << option.message << '\n';
}

}  // namespace casdm
