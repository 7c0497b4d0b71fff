#pragma once

#include <concepts>
#include <memory>

#include "casdm/backbone.h"
#include "casdm/dataset.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/module.h"
#include "casdm/noise_scheduler.h"
#include "framework/loading/component.h"

namespace casdm {

/// Components that are passed around through their interface, by the host or to another component: each call goes
/// through the Component. They override every method; a method added to an interface but not here would fall back to
/// the interface's default for every plugin.

template <std::derived_from<Module> K>
class AttributedModuleOf : public K {
 public:
  explicit AttributedModuleOf(Component<K> module) : module_(std::move(module)) {}

  NamedTensors parameters() const override { return module_.call(&Module::parameters); }
  NamedTensors buffers() const override { return module_.call(&Module::buffers); }
  ParameterRole role(std::string_view parameter) const override { return module_.call(&Module::role, parameter); }
  void train(bool on) override { module_.call(&Module::train, on); }
  WeightShadow begin_shadow(const Tensor& weights) override { return module_.call(&Module::begin_shadow, weights); }
  void end_shadow() override { module_.call(&Module::end_shadow); }

 protected:
  const Component<K>& module() const { return module_; }

 private:
  Component<K> module_;
};

using AttributedModule = AttributedModuleOf<Module>;

class AttributedBackbone final : public AttributedModuleOf<Backbone> {
 public:
  using AttributedModuleOf::AttributedModuleOf;

  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
    return module().call(&Backbone::forward, x, t, condition);
  }
  std::vector<TapInfo> taps() const override { return module().call(&Backbone::taps); }
  BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                   const std::vector<std::string>& names) override {
    return module().call(&Backbone::forward_with_taps, x, t, condition, names);
  }
};

class AttributedMetric final : public AttributedModuleOf<MetricLoss> {
 public:
  using AttributedModuleOf::AttributedModuleOf;

  MetricInfo info() const override { return module().call(&MetricLoss::info); }
  std::vector<Tensor> prepare(const Tensor& target) override { return module().call(&MetricLoss::prepare, target); }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return module().call(&MetricLoss::distance, prediction, target);
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    return module().call(&MetricLoss::distance_in, prediction, target, context);
  }
};

class AttributedExtractor final : public AttributedModuleOf<FeatureExtractor> {
 public:
  using AttributedModuleOf::AttributedModuleOf;

  ExtractorInfo info() const override { return module().call(&FeatureExtractor::info); }
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
    return module().call(&FeatureExtractor::extract, images, names);
  }
};

class AttributedDataset final : public Dataset {
 public:
  explicit AttributedDataset(Component<Dataset> dataset) : dataset_(std::move(dataset)) {}

  std::int64_t size() const override { return dataset_.call(&Dataset::size); }
  Example get(std::int64_t index) const override { return dataset_.call(&Dataset::get, index); }
  std::int64_t num_classes() const override { return dataset_.call(&Dataset::num_classes); }
  bool is_floating_point() const override { return dataset_.call(&Dataset::is_floating_point); }
  std::vector<ExtraInfo> extras() const override { return dataset_.call(&Dataset::extras); }
  std::string describe(std::int64_t index) const override { return dataset_.call(&Dataset::describe, index); }
  std::string left_out() const override { return dataset_.call(&Dataset::left_out); }

 private:
  Component<Dataset> dataset_;
};

class AttributedSchedule final : public NoiseScheduler {
 public:
  explicit AttributedSchedule(Component<NoiseScheduler> schedule) : schedule_(std::move(schedule)) {}

  TimeRange range() const override { return schedule_.call(&NoiseScheduler::range); }
  Tensor alpha(const Tensor& t) const override { return schedule_.call(&NoiseScheduler::alpha, t); }
  Tensor sigma(const Tensor& t) const override { return schedule_.call(&NoiseScheduler::sigma, t); }
  Tensor log_snr(const Tensor& t) const override { return schedule_.call(&NoiseScheduler::log_snr, t); }
  Tensor time_at(const Tensor& log_snr) const override { return schedule_.call(&NoiseScheduler::time_at, log_snr); }
  Tensor previous(const Tensor& t) const override { return schedule_.call(&NoiseScheduler::previous, t); }
  Tensor network_time(const Tensor& t) const override { return schedule_.call(&NoiseScheduler::network_time, t); }
  Tensor network_input(const Tensor& x_t, const Tensor& t) const override {
    return schedule_.call(&NoiseScheduler::network_input, x_t, t);
  }
  double prior_std() const override { return schedule_.call(&NoiseScheduler::prior_std); }

 private:
  Component<NoiseScheduler> schedule_;
};

}  // namespace casdm
