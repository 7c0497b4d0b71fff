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

const std::string kStandIn = "conformance/stand_in";

/// The smallest network that keeps a backbone's contract: two convolutions, told the time and the augmentation.
class StandInBackbone final : public Backbone {
 public:
  explicit StandInBackbone(const Spec& spec) {
    at::Generator generator = make_generator(spec.seed);
    const auto normal = [&](at::IntArrayRef shape, double deviation) {
      return at::empty(shape, at::kFloat).normal_(0, deviation, generator);
    };
    first_ = normal({8, spec.in_channels, 3, 3}, 0.2).requires_grad_(true);
    time_ = normal({8}, 0.1).requires_grad_(true);
    second_ = normal({spec.out_channels, 8, 3, 3}, 0.1).requires_grad_(true);
    if (spec.augment_size > 0) augment_ = normal({8, spec.augment_size}, 0.1).requires_grad_(true);
  }

  NamedTensors parameters() const override {
    NamedTensors result = {{"first.weight", first_}, {"time.weight", time_}, {"second.weight", second_}};
    if (augment_.defined()) result.emplace_back(kAugmentWeight, augment_);
    return result;
  }

  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
    Tensor phase = t.to(x.scalar_type()).view({-1, 1, 1, 1}) * 0.01 * time_.view({1, -1, 1, 1});
    if (condition.augment.defined()) phase = phase + at::linear(condition.augment, augment_).view({-1, 8, 1, 1});
    return at::conv2d(at::tanh(at::conv2d(x, first_, {}, 1, 1) + phase), second_, {}, 1, 1);
  }

 private:
  Tensor first_;
  Tensor time_;
  Tensor second_;
  Tensor augment_;  ///< undefined: no augmentation
};

class StandInMetric final : public MetricLoss {
 public:
  MetricInfo info() const override { return {}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return (prediction - target.at(0)).square().mean({1, 2, 3});
  }
};

class StandInSchedule final : public NoiseScheduler {
 public:
  StandInSchedule() : NoiseScheduler(betas_of(100)) {}

 private:
  static std::vector<double> betas_of(int count) {
    std::vector<double> betas;
    for (int i = 0; i < count; ++i) betas.push_back(1e-3 + (0.2 - 1e-3) * i / (count - 1));
    return betas;
  }
};

/// The host's factory, with stand-ins for the components that others are made of.
class StandInFactory final : public ComponentFactory {
 public:
  explicit StandInFactory(const PluginHost& host) : host_(host) {}

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config,
                                 const void* spec) const override {
    if (config.type != kStandIn) return host_.make_erased(kind, config, spec);
    if (kind == Backbone::kind) {
      return std::shared_ptr<Backbone>(std::make_shared<StandInBackbone>(*static_cast<const Backbone::Spec*>(spec)));
    }
    if (kind == MetricLoss::kind) return std::shared_ptr<MetricLoss>(std::make_shared<StandInMetric>());
    if (kind == NoiseScheduler::kind) return std::shared_ptr<NoiseScheduler>(std::make_shared<StandInSchedule>());
    throw Skip(text("there is no stand-in for the ", kind, " it is made of"));
  }

 private:
  const PluginHost& host_;
};

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

void require_complete(const OptionSchema& options, const Value& table) {
  for (const OptionSpec& option : options) {
    if (!option.is_required || table.find(option.name) != nullptr) continue;
    throw Skip(text("option '", option.name, "' has no default; give one with --set ", option.name, "=..."));
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
    : plugin_(plugin), entry_(entry), seed_(seed), factory_(std::make_shared<StandInFactory>(host)) {
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
  merge(options, table);
  require_complete(entry_.options, options);
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
  throw Failure(text("kind '", kind, "' is none this host knows"));
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

Tensor images(std::uint64_t seed, std::int64_t size, std::int64_t batch) {
  at::Generator generator = make_generator(derive_seed(seed, "conformance images"));
  const Tensor coarse = at::empty({batch, kChannels, 6, 6}, at::kFloat).uniform_(-1, 1, generator);
  const Tensor fine = at::empty({batch, kChannels, size, size}, at::kFloat).normal_(0, 0.05, generator);
  return (at::upsample_bilinear2d(coarse, {size, size}, false) + fine).clamp(-1, 1);
}

std::shared_ptr<const NoiseScheduler> stand_in_schedule() {
  static const auto schedule = std::make_shared<const StandInSchedule>();
  return schedule;
}

std::vector<Test> tests() {
  std::vector<Test> all;
  for (const auto& part : {common_tests(), metric_tests(), noise_tests(), sampler_tests(), network_tests(),
                           dataset_tests(), timestep_tests(), augmentation_tests()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace casdm::conformance
