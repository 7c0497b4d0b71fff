#pragma once

#include <cmath>
#include <concepts>
#include <memory>

#include "casdm/dataset.h"
#include "casdm/module.h"
#include "casdm/noise_scheduler.h"
#include "casdm/text.h"
#include "framework/loading/component.h"
#include "framework/loading/untouched.h"
#include "framework/support/one_line.h"

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

class AttributedDataset final : public Dataset {
 public:
  explicit AttributedDataset(Component<Dataset> dataset) : dataset_(std::move(dataset)) {}

  std::int64_t size() const override { return dataset_.call(&Dataset::size); }
  /// Throws in one line: a message holds the name of a file.
  Example get(std::int64_t index) const override {
    return dataset_.call([index](Dataset& dataset) {
      try {
        return dataset.get(index);
      } catch (...) {
        throw_in_one_line();
      }
    });
  }
  std::int64_t num_classes() const override { return dataset_.call(&Dataset::num_classes); }
  bool is_floating_point() const override { return dataset_.call(&Dataset::is_floating_point); }
  std::vector<ExtraInfo> extras() const override { return dataset_.call(&Dataset::extras); }
  /// Without line breaks, so that the name of a file begins no line of a message.
  std::string describe(std::int64_t index) const override { return one_line(dataset_.call(&Dataset::describe, index)); }
  std::string left_out() const override { return dataset_.call(&Dataset::left_out); }

 private:
  Component<Dataset> dataset_;
};

class AttributedSchedule final : public NoiseScheduler {
 public:
  explicit AttributedSchedule(Component<NoiseScheduler> schedule) : schedule_(std::move(schedule)) {}

  TimeRange range() const override { return schedule_.call(&NoiseScheduler::range); }
  Tensor alpha(const Tensor& t) const override { return of_path("alpha", t, &NoiseScheduler::alpha); }
  Tensor sigma(const Tensor& t) const override { return of_path("sigma", t, &NoiseScheduler::sigma); }
  Tensor log_snr(const Tensor& t) const override { return of_path("log_snr", t, &NoiseScheduler::log_snr); }
  Tensor time_at(const Tensor& log_snr) const override { return like("time_at", log_snr, &NoiseScheduler::time_at); }
  Tensor previous(const Tensor& t) const override { return like("previous", t, &NoiseScheduler::previous); }
  Tensor network_time(const Tensor& t) const override {
    Tensor result = like("network_time", t, &NoiseScheduler::network_time);
    // Whole times may stay whole: networks get them in the type of the images.
    if (!result.is_complex() && result.scalar_type() != at::kBool) return result;
    schedule_.fail(text("network_time() returned ", at::toString(result.scalar_type()), "; expected real numbers"));
  }
  Tensor network_input(const Tensor& x_t, const Tensor& t) const override {
    Tensor result = like("network_input", x_t, &NoiseScheduler::network_input, t);
    if (result.scalar_type() == x_t.scalar_type()) return result;
    schedule_.fail(text("network_input() returned ", at::toString(result.scalar_type()), " for images of type ",
                        at::toString(x_t.scalar_type()), "; expected their type"));
  }
  double prior_std() const override {
    const double deviation = schedule_.call(&NoiseScheduler::prior_std);
    if (std::isfinite(deviation) && deviation > 0) return deviation;
    schedule_.fail(text("prior_std() returned ", deviation, "; expected a finite number above 0"));
  }

 private:
  /// What `method` returns for `given`, which must have its shape.
  template <class Method, class... More>
  Tensor like(const char* name, const Tensor& given, Method method, const More&... more) const {
    const Untouched inputs({given, more...}, Untouched::Compared::versions);
    Tensor result = schedule_.call(method, given, more...);
    inputs.check(schedule_, "tensors");
    if (result.defined() && result.sizes() == given.sizes()) return result;
    schedule_.fail(text(name, "() returned ", result.defined() ? text("the shape ", result.sizes()) : "nothing",
                        "; expected ", given.sizes()));
  }

  template <class Method>
  Tensor of_path(const char* name, const Tensor& t, Method method) const {
    const Tensor result = like(name, t, method);
    if (result.scalar_type() == at::kDouble)
      return result.is_cpu() ? result.clone() : result;  // its memory may be reused
    schedule_.fail(text(name, "() returned ", at::toString(result.scalar_type()), " for t of type ",
                        at::toString(t.scalar_type()), "; expected float64"));
  }

  Component<NoiseScheduler> schedule_;
};

}  // namespace casdm
