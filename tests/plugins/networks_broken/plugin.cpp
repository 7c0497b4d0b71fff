#include "casdm/plugin.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "casdm/backbone.h"
#include "casdm/cascade_head.h"
#include "casdm/random.h"
#include "plugins/meddle.h"

/// A backbone and a head that violate the clause of their contract named by the option `fault`.
namespace casdm {

namespace {

struct FaultyBackboneOptions {
  std::string fault = "none";
  std::string change = "none";

  static void describe(Schema<FaultyBackboneOptions>& s) {
    s.option("fault", &FaultyBackboneOptions::fault, "What goes wrong.")
        .choices({"none",
                  "whole_t",
                  "in_place",
                  "single",
                  "batch_statistics",
                  "batch_dropout",
                  "one_seed",
                  "remembers",
                  "shared",
                  "double_weights",
                  "two_types",
                  "throws",
                  "tap_name",
                  "tap_shape",
                  "tap_type",
                  "tap_twice",
                  "changes_time",
                  "changes_labels",
                  "tap_flat",
                  "tap_empty",
                  "changes_weights",
                  "own_gradient",
                  "keeps_a_view",
                  "made_of_views",
                  "unlisted",
                  "folds",
                  "lazy_buffer",
                  "other_buffer",
                  "backward_state",
                  "no_gradient",
                  "other_memory",
                  "detached_handles",
                  "tied"});
    s.option("change", &FaultyBackboneOptions::change, "What `forward` changes of the process.")
        .choices(testing::all_changes());
  }
};

/// One convolution, shifted by time, label and augmentation.
class FaultyBackbone final : public Backbone {
 public:
  using Options = FaultyBackboneOptions;
  FaultyBackbone(const Options& options, const Spec& spec)
      : fault_(options.fault),
        change_(options.change),
        tap_{options.fault == "tap_empty" ? "" : "map", {spec.out_channels, spec.image.height, spec.image.width}} {
    if (options.fault == "tap_flat") tap_.shape = {spec.out_channels};
    at::Generator generator = make_generator(is("one_seed") ? 0 : spec.seed);
    const auto add = [&](const char* name, at::IntArrayRef shape) {
      const auto type = is("double_weights") ? at::kDouble : at::kFloat;
      if (is("made_of_views")) {
        const Tensor table = at::empty({2, c10::multiply_integers(shape)}, type).normal_(0, 0.2, generator);
        return parameters_.emplace_back(name, table.unbind()[0].view(shape)).second.requires_grad_();
      }
      return parameters_.emplace_back(name, at::empty(shape, type).normal_(0, 0.2, generator)).second.requires_grad_();
    };
    weight_ = add("weight", {spec.out_channels, spec.image.channels, 3, 3});
    time_ = add("time", {spec.out_channels});
    if (spec.condition.num_classes > 0) labels_ = add("labels", {spec.condition.num_classes, spec.out_channels});
    if (spec.condition.augment_size > 0) augment_ = add("augment", {spec.out_channels, spec.condition.augment_size});
    if (is("keeps_a_view")) view_ = weight_.view({spec.out_channels, spec.image.channels, 3, 3});
    if (is("shared")) parameters_.emplace_back("again", weight_);
  }

  NamedTensors parameters() const override {
    NamedTensors handles = parameters_;
    if (is("detached_handles")) handles[0].second = weight_.detach();
    return handles;
  }
  NamedTensors buffers() const override {
    if (is("tied")) return {{"tied", weight_.detach()[0]}};
    if (is("lazy_buffer") && calls_ > 0) return {{"cache", cache_}};
    if (is("other_buffer")) return {{"cache", cache_}};
    return {};
  }
  void train(bool on) override {
    training_ = on;
    if (is("folds")) weight_.detach().mul_(on ? 1 / 1.1 : 1.1);
  }

  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
    testing::meddle(change_);
    ++calls_;
    if (is("other_buffer")) cache_ = at::zeros({x.size(0)});
    if (is("throws")) throw std::runtime_error("the backbone gave up");
    if (is("in_place")) Tensor(x.detach()).mul_(0.5);
    if (is("changes_weights") && !training_) weight_.detach().add_(0.01);
    if (training_ && is("own_gradient")) Tensor(weight_).mutable_grad() = at::ones_like(weight_);
    if (training_ && is("no_gradient")) Tensor(weight_).requires_grad_(false);
    if (training_ && is("other_memory")) Tensor(weight_).set_data(weight_.detach().clone());
    if (is("changes_time")) Tensor(t).mul_(0.5);
    if (is("changes_labels") && condition.labels.defined()) Tensor(condition.labels).zero_();
    const Tensor time = is("whole_t") ? t.floor() : t;
    Tensor shift = (time.to(weight_.scalar_type()) * 0.01).sin().unsqueeze(1) * time_;
    if (labels_.defined()) shift = shift + at::embedding(labels_, condition.labels);
    if (condition.augment.defined()) shift = shift + at::linear(condition.augment, augment_);
    const Tensor& weight = is("keeps_a_view") ? view_ : weight_;
    Tensor y = at::conv2d(x.to(weight_.scalar_type()), weight, {}, 1, 1) + shift.unsqueeze(-1).unsqueeze(-1);
    if (is("unlisted")) y = y * unlisted_;
    if (is("two_types")) y = at::lerp(at::conv2d(x, weight_, {}, 1, 1), y, 0.5);
    if (is("batch_statistics") && training_) y = y - y.mean();
    if (is("batch_dropout") && training_ && !condition.dropout.seeds.empty()) {
      at::Generator generator = make_generator(condition.dropout.seeds.front());
      y = y * at::empty_like(y).bernoulli_(0.5, generator);
    }
    if (is("remembers")) y = y + 0.1 * static_cast<double>(calls_ - 1);
    if (is("backward_state") && y.requires_grad()) {
      y.register_hook([](const Tensor& gradient) {
        at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
        return gradient;
      });
    }
    return is("single") ? y.to(at::kFloat) : y;
  }

  std::vector<TapInfo> taps() const override { return {tap_}; }

  BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                   const std::vector<std::string>& names) override {
    BackboneOutput output{forward(x, t, condition), {}};
    if (names.empty()) return output;
    Tensor map = output.sample;
    if (is("tap_shape")) map = map.slice(0, 0, 1);
    if (is("tap_type")) map = map.to(at::kLong);
    output.taps = {{is("tap_name") ? "other" : tap_.name, map}};
    if (is("tap_twice")) output.taps.push_back(output.taps.front());
    return output;
  }

 private:
  bool is(std::string_view fault) const { return fault_ == fault; }

  std::string fault_;
  std::string change_;
  TapInfo tap_;
  NamedTensors parameters_;
  Tensor weight_, time_, labels_, augment_, cache_ = at::zeros({1}), view_, unlisted_ = at::ones({1}).requires_grad_();
  bool training_ = true;
  std::int64_t calls_ = 0;
};

struct FaultyHeadOptions {
  ComponentConfig theta;
  std::string fault = "none";
  std::string change = "none";

  static void describe(Schema<FaultyHeadOptions>& s) {
    s.component("theta", &FaultyHeadOptions::theta, Backbone::kind, "Predicts the noise.").required();
    s.option("fault", &FaultyHeadOptions::fault, "What goes wrong.")
        .choices({"none",           "other_eps",       "two_names",
                  "half",           "own_seed",        "forgets_classes",
                  "forgets_labels", "forgets_dropout", "own_weight",
                  "statistic",      "nan_statistic",   "gate_alone",
                  "remembers",      "in_place",        "other_sampling",
                  "running_mean",   "counts",          "backward",
                  "data",           "one_channel",     "sampling_weights",
                  "changes_labels", "changes_times",   "estimates_labels",
                  "estimates_times"});
    s.option("change", &FaultyHeadOptions::change, "What `losses` and `estimate` change of the process.")
        .choices(testing::all_changes());
  }
};

/// DDPM predicting the noise.
class FaultyHead final : public CascadeHead {
 public:
  using Options = FaultyHeadOptions;
  FaultyHead(const Options& options, const Spec& spec)
      : fault_(options.fault), change_(options.change), schedule_(spec.schedule), is_training_(spec.is_training) {
    Backbone::Spec network{spec.image, spec.image.channels, spec.condition, derive_seed(spec.seed, "theta")};
    if (is("own_seed")) network.seed = spec.seed;
    if (is("forgets_classes")) network.condition.num_classes = 0;
    theta_ = spec.factory->make<Backbone>(options.theta, network);
  }

  std::vector<NamedModule> modules() const override { return {{"theta", theta_}}; }

  Estimate estimate(const EstimateInput& input) override {
    const Tensor& x_t = input.x_t;
    testing::meddle(change_);
    if (is("in_place")) Tensor(x_t).mul_(0.9);
    if (is("estimates_labels")) Tensor(input.condition.labels).zero_();
    if (is("estimates_times")) Tensor(input.t).zero_();
    if (is("sampling_weights")) theta_->parameters().front().second.detach().add_(0.01);
    return predict(x_t, input.t, {.labels = is("forgets_labels") ? Tensor() : input.condition.labels});
  }

  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override {
    testing::meddle(change_);
    calls_ += 1;
    Condition condition = batch.condition_for("theta");
    if (is("forgets_dropout")) condition.dropout = {};
    const Estimate estimate = predict(batch.x_t, batch.t, condition);
    Tensor error = (batch.eps - estimate.eps).square().flatten(1).mean(1);
    if (is("running_mean")) {
      mean_ = 0.9 * mean_ + 0.1 * error.detach().mean().item<double>();
      error = error / mean_;
    }
    if (is("changes_labels")) Tensor(batch.condition.labels).zero_();
    if (is("changes_times")) Tensor(batch.t).zero_();
    if (is("counts") && calls_ == 3) error = 2 * error;
    if (is("backward")) error.sum().backward({}, /*keep_graph=*/true);
    if (is("data")) batch.eps.data().mul_(0.5);
    Losses losses;
    const Tensor& image = estimate.x0_from_eps;
    losses.terms = metrics.evaluate(is("one_channel") ? image.narrow(1, 0, 1) : image, batch, "theta");
    if (is("own_weight")) losses.terms.front().weight *= 2;
    losses.terms.push_back({"eps", error, 1.0, "theta"});
    if (is("two_names")) losses.terms.push_back({"eps", error * error, 1.0, "theta"});
    if (is("nan_statistic")) losses.statistics.push_back({"error", (error / 0 - error / 0).detach()});
    if (is("statistic")) losses.statistics.push_back({"error", error});
    return losses;
  }

 private:
  bool is(std::string_view fault) const { return fault_ == fault; }

  Estimate predict(const Tensor& x_t, const Tensor& t, const Condition& condition) {
    const Tensor answer = theta_->forward(x_t, t.to(x_t.scalar_type()), condition);
    Estimate estimate;
    estimate.eps = is("half") ? answer : answer.to(x_t.scalar_type());
    if (is("remembers")) estimate.eps = estimate.eps + 0.1 * static_cast<double>(calls_);
    if (is("other_sampling") && !is_training_) estimate.eps = 0.9 * estimate.eps;
    estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, estimate.eps);
    if (is("other_eps")) estimate.eps = 0.9 * estimate.eps;
    if (is("gate_alone")) estimate.gate = at::full_like(x_t, 0.5);
    return estimate;
  }

  std::string fault_;
  std::string change_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  bool is_training_;
  std::shared_ptr<Backbone> theta_;
  std::int64_t calls_ = 0;
  double mean_ = 1;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Networks and heads that break their contract on request", .licence = "Apache-2.0"});
  plugin.add<FaultyBackbone>("faulty_network", "One convolution.");
  plugin.add<FaultyHead>("faulty_head", "DDPM.");
}

}  // namespace casdm
