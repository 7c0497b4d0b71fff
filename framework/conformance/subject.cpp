#include <ATen/ATen.h>

#include <cmath>

#include "casdm/augmentation.h"
#include "casdm/backbone.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/metric_loss.h"
#include "casdm/random.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "casdm/timestep_sampler.h"
#include "framework/config/overrides.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

namespace {

/// Defaults of `options`, examples where there is none, stand-ins in the slots of components.
Value defaults(const OptionSchema& options) {
  Value table{Value::Table{}};
  for (const OptionSpec& option : options) {
    if (option.type == OptionType::table) {
      Value inner = defaults(option.fields);
      if (!option.component_kind.empty()) inner.set("type", kStandIn);
      table.set(option.name, inner);
    } else if (!option.default_value.is_null()) {
      table.set(option.name, option.default_value);
    } else if (option.is_required && !option.examples.empty() && option.type != OptionType::path) {
      table.set(option.name, option.examples.front());
    }
  }
  return table;
}

void require_complete(const ComponentEntry& entry, const Value& table) {
  for (const OptionSpec& option : entry.options) {
    if (!option.is_required || table.find(option.name) != nullptr) continue;
    throw NotTested(text("option '", option.name, "' has no default; give it one by --set ", entry.name, '/',
                         option.name, "=... (in CMake: CHECK_SET)"));
  }
}

/// Paths of files in `folder`, whatever the working directory is when they are used.
void make_absolute(const OptionSchema& options, const std::filesystem::path& folder, Value& table) {
  for (const OptionSpec& option : options) {
    Value* value = table.find(option.name);
    if (value == nullptr) continue;
    if (option.type == OptionType::path && value->is_string()) {
      std::error_code error;
      const std::filesystem::path file = folder / value->as_string();
      if (std::filesystem::exists(file, error)) *value = file.string();
    } else if (option.type == OptionType::table && value->is_table()) {
      make_absolute(option.fields, folder, *value);
    }
  }
}

void merge(Value& target, const Value& source) {
  for (const auto& [key, value] : source.as_table()) {
    Value* old = target.find(key);
    if (old != nullptr && old->is_table() && value.is_table()) {
      merge(*old, value);
    } else {
      target.set(key, value);
    }
  }
}

}  // namespace

Subject::Subject(const PluginHost& host, const FoundPlugin& plugin, const ComponentEntry& entry,
                 const std::vector<std::string>& overrides, std::uint64_t seed)
    : plugin_(plugin),
      entry_(entry),
      seed_(seed),
      folder_(std::filesystem::current_path()),
      factory_(std::make_shared<StandInFactory>(host)) {
  for (const std::string& override : overrides) {
    const std::size_t slash = override.substr(0, override.find('=')).find('/');
    if (slash == std::string::npos) {
      overrides_.push_back(override);
    } else if (override.substr(0, slash) == entry.name) {
      overrides_.push_back(override.substr(slash + 1));
    }
  }
}

ComponentConfig Subject::config(const Value& table) const {
  Value options = defaults(entry_.options);
  apply_overrides(options, overrides_);
  make_absolute(entry_.options, folder_, options);
  merge(options, table);
  require_complete(entry_, options);
  const std::string type = plugin_.description.info.id + "/" + entry_.name;
  options.set("type", type);
  return {type, options};
}

std::shared_ptr<void> Subject::make_default(const Value& table) const {
  const std::string& kind = entry_.kind;
  if (kind == Backbone::kind) return make<Backbone>({kChannels, kChannels, kImageSize, 0, seed_}, table);
  if (kind == MetricLoss::kind) return make<MetricLoss>({kChannels, kImageSize, &factory()}, table);
  if (kind == NoiseScheduler::kind) return make<NoiseScheduler>({}, table);
  if (kind == Sampler::kind) return make<Sampler>({stand_in_schedule()}, table);
  if (kind == Dataset::kind) return make<Dataset>({kImageSize, kChannels}, table);
  if (kind == TimestepSampler::kind) return make<TimestepSampler>({stand_in_schedule()}, table);
  if (kind == Augmentation::kind) return make<Augmentation>({kImageSize, kChannels}, table);
  if (kind == CascadeHead::kind) {
    return make<CascadeHead>({kChannels, kImageSize, 0, stand_in_schedule(), &factory(), seed_}, table);
  }
  throw Failure(text("kind '", kind, "' is not one this host knows"));
}

std::shared_ptr<Module> Subject::make_module() const {
  if (entry_.kind == Backbone::kind) return make<Backbone>({kChannels, kChannels, kImageSize, 0, seed_});
  if (entry_.kind == MetricLoss::kind) return make<MetricLoss>({kChannels, kImageSize, &factory()});
  if (entry_.kind == TimestepSampler::kind) return make<TimestepSampler>({stand_in_schedule()});
  return nullptr;
}

void require(bool good, const std::string& message) {
  if (!good) throw Failure(message);
}

std::vector<Test> tests() {
  std::vector<Test> all;
  for (const auto& part : {common_tests(), metric_tests(), noise_tests(), sampler_tests(), backbone_tests(),
                           head_tests(), dataset_tests(), timestep_tests(), augmentation_tests()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace casdm::conformance
