#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/error.h"
#include "casdm/random.h"
#include "support/components.h"

/// Heads with networks small enough to differentiate numerically, or with functions instead of networks.
namespace casdm::testing {

constexpr std::int64_t kChannels = 2;
constexpr std::int64_t kSize = 4;

inline Tensor randn(std::uint64_t seed, at::IntArrayRef shape, at::ScalarType dtype = at::kDouble) {
  return at::empty(shape, at::kDouble).normal_(0, 1, make_generator(seed)).to(dtype);
}

/// Betas rising linearly from 1e-4 to 0.02 in the units of 1000 steps, kept below 1 for short schedules.
inline std::shared_ptr<const BetaSchedule> linear_schedule(std::int64_t steps) {
  std::vector<double> betas;
  for (std::int64_t i = 0; i < steps; ++i) {
    const double fraction = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 0.0;
    betas.push_back(std::min(0.5, (1e-4 + fraction * (0.02 - 1e-4)) * 1000.0 / static_cast<double>(steps)));
  }
  return std::make_shared<BetaSchedule>(betas);
}

/// Records what it was asked for and given.
class TestBackbone : public Backbone {
 public:
  explicit TestBackbone(const Spec& spec) : spec(spec) {}

  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
    last_x = x;
    last_t = t;
    last_labels = condition.labels;
    last_augment = condition.augment;
    last_dropout = condition.dropout;
    return compute(x, t, condition);
  }

  const Spec spec;
  Tensor last_x, last_t, last_labels, last_augment;
  Dropout last_dropout;

 protected:
  virtual Tensor compute(const Tensor& x, const Tensor& t, const Condition& condition) = 0;
};

/// conv 1x1, time, tanh, dropout .5, conv 1x1. The last convolution's rows are the outputs.
class TinyBackbone : public TestBackbone {
 public:
  TinyBackbone(const Spec& spec, at::ScalarType dtype) : TestBackbone(spec) {
    constexpr std::int64_t kHidden = 5;
    const auto parameter = [&](std::uint64_t number, at::IntArrayRef shape) {
      return randn(derive_seed(spec.seed, "parameter", number), shape, dtype).mul_(0.5).requires_grad_(true);
    };
    in_weight = parameter(0, {kHidden, spec.image.channels, 1, 1});
    in_time = parameter(1, {1, kHidden, 1, 1});
    out_weight = parameter(2, {spec.out_channels, kHidden, 1, 1});
    out_bias = parameter(3, {spec.out_channels});
  }

  NamedTensors parameters() const override {
    return {{"in.weight", in_weight}, {"in.time", in_time}, {"out.weight", out_weight}, {"out.bias", out_bias}};
  }
  NamedTensors trunk() const { return {{"in.weight", in_weight}, {"in.time", in_time}}; }

  Tensor in_weight, in_time, out_weight, out_bias;

 protected:
  Tensor compute(const Tensor& x, const Tensor& t, const Condition& condition) override {
    Tensor hidden = (at::conv2d(x, in_weight) + in_time * t.reshape({-1, 1, 1, 1}) * 0.01).tanh();
    hidden = condition.dropout.apply(hidden, 0.5, 0);
    return at::conv2d(hidden, out_weight, out_bias);
  }
};

/// A function of (x, t) instead of a network.
class FunctionBackbone : public TestBackbone {
 public:
  using Function = std::function<Tensor(const Tensor& x, const Tensor& t)>;
  FunctionBackbone(const Spec& spec, Function function) : TestBackbone(spec), function_(std::move(function)) {}

 protected:
  Tensor compute(const Tensor& x, const Tensor& t, const Condition&) override { return function_(x, t); }

 private:
  Function function_;
};

/// Creates the test's own backbones for a head's "theta" and "phi", which it distinguishes by their seeds.
class FakeFactory : public ComponentFactory {
 public:
  using Maker = std::function<std::shared_ptr<TestBackbone>(const Backbone::Spec&)>;

  FakeFactory(std::uint64_t head_seed, std::map<std::string, Maker> makers)
      : head_seed_(head_seed), makers_(std::move(makers)) {}

  mutable std::map<std::string, std::shared_ptr<TestBackbone>> made;

 protected:
  std::shared_ptr<void> make_any(std::string_view, const ComponentConfig&, const void* spec) const override {
    const auto& backbone_spec = *static_cast<const Backbone::Spec*>(spec);
    for (const auto& [name, maker] : makers_) {
      if (backbone_spec.seed != derive_seed(head_seed_, name)) continue;
      made[name] = maker(backbone_spec);
      return std::static_pointer_cast<void>(std::static_pointer_cast<Backbone>(made[name]));
    }
    throw Error("the head asked for a backbone whose seed is that of no known module");
  }

 private:
  std::uint64_t head_seed_;
  std::map<std::string, Maker> makers_;
};

inline FakeFactory::Maker tiny(at::ScalarType dtype = at::kDouble) {
  return [dtype](const Backbone::Spec& spec) { return std::make_shared<TinyBackbone>(spec, dtype); };
}

inline FakeFactory::Maker function(FunctionBackbone::Function function) {
  return [function](const Backbone::Spec& spec) { return std::make_shared<FunctionBackbone>(spec, function); };
}

/// mean sqrt((p - x0)^2 + .01): smooth, and nowhere zero.
class FakeMetric : public MetricTerms {
 public:
  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override {
    return {{"metric.fake", ((prediction - batch.target).square() + 0.01).sqrt().flatten(1).mean(1), 0.1, module}};
  }
};

/// The experiment without metrics.
class NoMetric : public MetricTerms {
 public:
  std::vector<LossTerm> evaluate(const Tensor&, const TrainingBatch&, const std::string&) const override { return {}; }
};

/// A head over test backbones.
struct Bench {
  static constexpr std::uint64_t kSeed = 7;

  Bench(const std::string& type, const std::string& options, std::shared_ptr<const NoiseScheduler> noise,
        std::map<std::string, FakeFactory::Maker> makers = {{"theta", tiny()}, {"phi", tiny()}})
      : path(std::move(noise)),
        schedule(std::dynamic_pointer_cast<const BetaSchedule>(path)),
        factory(std::make_unique<FakeFactory>(kSeed, std::move(makers))) {
    const std::string networks =
        type == "cascade" ? "\n[theta]\ntype = \"unet\"\n[phi]\ntype = \"unet\"\n" : "\n[theta]\ntype = \"unet\"\n";
    CascadeHead::Spec spec;
    spec.image = ImageShape::square(kChannels, kSize);
    spec.schedule = path;
    spec.factory = factory.get();
    spec.seed = kSeed;
    head = make<CascadeHead>(type, options + networks, spec);
  }

  TestBackbone& backbone(const std::string& name) const { return *factory->made.at(name); }
  TinyBackbone& network(const std::string& name) const { return dynamic_cast<TinyBackbone&>(backbone(name)); }

  /// One image per timestep of `t`.
  TrainingBatch batch(const std::vector<std::int64_t>& t, at::ScalarType dtype = at::kDouble,
                      std::uint64_t seed = 1) const {
    const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(t.size()), kChannels, kSize, kSize};
    return noised_batch(*path, randn(seed, shape, dtype).tanh(), at::tensor(t, at::kLong),
                        randn(seed + 1, shape, dtype));
  }

  Estimate estimate(const TrainingBatch& batch) const {
    return head->estimate({batch.x_t, batch.t, {}, batch.condition});
  }

  std::shared_ptr<const NoiseScheduler> path;
  std::shared_ptr<const BetaSchedule> schedule;  ///< the same; null if it is not a table of betas
  std::unique_ptr<FakeFactory> factory;
  std::shared_ptr<CascadeHead> head;
};

inline const LossTerm& term(const Losses& losses, const std::string& name) {
  for (const LossTerm& term : losses.terms) {
    if (term.name == name) return term;
  }
  throw Error("no loss term '" + name + "'");
}

inline double largest(const Tensor& x) { return x.abs().max().item<double>(); }
inline double largest_difference(const Tensor& a, const Tensor& b) { return largest(a - b); }

/// `table` at `t` as a column over images of the batch, in double precision.
inline Tensor at_t(const std::vector<double>& table, const Tensor& t) {
  return at::tensor(table, at::kDouble).index_select(0, t).reshape({-1, 1, 1, 1});
}

inline Tensor mean_of_images(const Tensor& x) { return x.flatten(1).mean(1); }

/// The sum over terms of weight * mean, which the host differentiates.
inline Tensor objective(const Losses& losses) {
  Tensor sum;
  for (const LossTerm& term : losses.terms) {
    if (!term.value.requires_grad()) continue;
    const Tensor part = term.weight * term.value.mean();
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

inline void zero_gradients(const Module& module) {
  for (auto& [name, tensor] : module.parameters()) tensor.mutable_grad() = Tensor();
}

}  // namespace casdm::testing
