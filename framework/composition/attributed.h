#pragma once

#include <memory>

#include "casdm/dataset.h"
#include "casdm/module.h"
#include "casdm/noise_scheduler.h"
#include "framework/loading/component.h"

namespace casdm {

/// Components that the host passes around through their interface: each call goes through the Component. They override
/// every method; a method added to an interface but not here would fall back to the interface's default for every
/// plugin.

class AttributedModule final : public Module {
 public:
  explicit AttributedModule(Component<Module> module) : module_(std::move(module)) {}

  NamedTensors parameters() const override { return module_.call(&Module::parameters); }
  NamedTensors buffers() const override { return module_.call(&Module::buffers); }
  ParameterRole role(std::string_view parameter) const override { return module_.call(&Module::role, parameter); }
  void train(bool on) override { module_.call(&Module::train, on); }
  WeightShadow begin_shadow(const Tensor& weights) override { return module_.call(&Module::begin_shadow, weights); }
  void end_shadow() override { module_.call(&Module::end_shadow); }

 private:
  Component<Module> module_;
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
