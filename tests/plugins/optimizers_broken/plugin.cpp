#include <ATen/ATen.h>

#include "casdm/one_pass_optimizer.h"
#include "casdm/plugin.h"
#include "plugins/meddle.h"

/// Optimizers that each violate one clause of their contract.
namespace {

using namespace casdm;

class Descent : public Optimizer {
 public:
  using Options = NoOptions;
  Descent(const Options&, const Spec& spec) : spec(spec) {}
  void step(const OptimizerStep& step) override { spec.weights.sub_(spec.gradients, step.learning_rate); }

  Spec spec;
};

class Careless : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override {
    for (const OptimizedParameter& parameter : spec.parameters) {
      if (parameter.role != ParameterRole::bias) parameter.weight.sub_(parameter.gradient, step.learning_rate);
    }
  }
};

class Forgetful : public Descent {
 public:
  Forgetful(const Options& options, const Spec& spec)
      : Descent(options, spec), momentum_(at::zeros_like(spec.weights)) {}
  void step(const OptimizerStep& step) override {
    momentum_.mul_(0.9).add_(spec.gradients);
    spec.weights.sub_(momentum_, step.learning_rate);
  }

 protected:
  const Tensor& momentum() const { return momentum_; }

 private:
  Tensor momentum_;
};

struct ReplacingOptions {
  std::string fault;
  static void describe(Schema<ReplacingOptions>& s) {
    s.option("fault", &ReplacingOptions::fault, "What is replaced.")
        .choices({"set_data", "late_set", "resized_gradients", "own_parameter", "not_utf8"})
        .required();
  }
};

/// Assigns tensors instead of values.
class Replacing : public Optimizer {
 public:
  using Options = ReplacingOptions;
  Replacing(const Options& options, const Spec& spec) : fault_(options.fault), spec_(spec) {}
  NamedTensors buffers() const override {
    if (fault_ != "not_utf8") return {};
    return {{"moment\xff", momentum_}};
  }
  void step(const OptimizerStep& step) override {
    const Tensor next = spec_.weights - step.learning_rate * spec_.gradients;
    ++steps_;
    if (fault_ == "set_data") {
      spec_.weights.set_data(next);
    } else if (fault_ == "late_set" && steps_ == 3) {
      spec_.weights.set_(next);
    } else {
      spec_.weights.copy_(next);
    }
    if (fault_ == "resized_gradients") spec_.gradients.resize_({1});
    if (fault_ == "own_parameter") spec_.parameters.front().weight.set_data(spec_.parameters.front().weight.clone());
  }

 private:
  std::string fault_;
  Spec spec_;
  Tensor momentum_ = at::zeros({1});
  int steps_ = 0;
};

/// Every tenth step is a large one.
class Striding : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override {
    spec.weights.sub_(spec.gradients, step.learning_rate * (++steps_ % 10 == 0 ? 2 : 1));
  }

 private:
  int steps_ = 0;
};

class Copying : public Forgetful {
 public:
  using Forgetful::Forgetful;
  NamedTensors buffers() const override { return {{"momentum", momentum().clone()}}; }
};

class Doubling : public Forgetful {
 public:
  using Forgetful::Forgetful;
  NamedTensors buffers() const override { return {{"momentum", momentum()}, {"momentum", momentum()}}; }
};

class Restless : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override { spec.weights.sub_(spec.gradients, step.learning_rate + 1e-3); }
};

class Drifting : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override {
    for (const OptimizedParameter& parameter : spec.parameters) {
      parameter.weight.mul_(1 - step.learning_rate).sub_(parameter.gradient, step.learning_rate);
    }
  }
};

class Dividing : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override {
    for (const OptimizedParameter& parameter : spec.parameters) {
      parameter.weight.sub_(parameter.gradient / parameter.gradient.square().sum().sqrt(), step.learning_rate);
    }
  }
};

class Spilling : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override { spec.weights.sub_(spec.gradients.sub(1), step.learning_rate); }
};

class Counting : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override {
    double rate = step.learning_rate;
    for (const OptimizedParameter& parameter : spec.parameters) {
      parameter.weight.sub_(parameter.gradient, rate);
      rate *= 0.9;
    }
  }
};

class Climbing : public Descent {
 public:
  using Descent::Descent;
  void step(const OptimizerStep& step) override { spec.weights.add_(spec.gradients, step.learning_rate); }
};

struct OnePassOptions {
  std::string fault = "none";
  static void describe(Schema<OnePassOptions>& s) {
    s.option("fault", &OnePassOptions::fault, "What its whole step does wrong.")
        .choices({"none", "forgets_the_scale", "forgets_an_average", "averages_old_weights", "keeps_gradients",
                  "half_done", "takes_any_step", "forgets_the_shadow", "counts_and_leaves", "does_nothing"});
  }
};

class OnePass : public OnePassOptimizer {
 public:
  using Options = OnePassOptions;
  OnePass(const Options& options, const Spec& spec) : fault_(options.fault), spec_(spec) {}
  void step(const OptimizerStep& step) override { spec_.weights.sub_(spec_.gradients, step.learning_rate); }
  NamedTensors buffers() const override {
    return is("counts_and_leaves") ? NamedTensors{{"count", count_}} : NamedTensors();
  }
  bool whole_step(const WholeStep& whole) override {
    if (is("does_nothing")) return true;
    if (is("counts_and_leaves")) {
      Tensor(count_).add_(1);
      return false;
    }
    if (!is("takes_any_step") && whole.scale.isnan().item<bool>()) {
      spec_.gradients.zero_();
      if (!is("forgets_the_shadow")) write(whole.shadow);
      return true;
    }
    if (!is("forgets_the_scale")) spec_.gradients.mul_(whole.scale);
    const Tensor before = spec_.weights.clone();
    step({whole.learning_rate});
    if (is("half_done")) return false;
    for (const WeightAverage& average : whole.averages) {
      if (is("forgets_an_average") && &average == &whole.averages.back()) continue;
      Tensor(average.values).lerp_(is("averages_old_weights") ? before : spec_.weights, 1 - average.keep);
    }
    if (!is("keeps_gradients")) spec_.gradients.zero_();
    write(whole.shadow);
    return true;
  }
  bool writes_shadow() const override { return true; }

 private:
  bool is(std::string_view fault) const { return fault_ == fault; }

  void write(const WeightShadow& shadow) const {
    if (!shadow.values.defined()) return;
    for (const Tensor& row : shadow.pieces.unbind()) {
      const auto number = [&](int i) { return row[i].item<std::int64_t>(); };
      const std::int64_t columns = number(3), positions = number(4);
      for (std::int64_t i = number(1); columns > 0 && i < number(1) + number(2); ++i) {
        const std::int64_t column = i / positions;
        const std::int64_t there =
            number(0) + column / columns * number(5) + column % columns * number(6) + i % positions * number(7);
        shadow.values[there].copy_(spec_.weights[number(0) + i]);
      }
    }
  }

  std::string fault_;
  Spec spec_;
  Tensor count_ = at::zeros({1});
};

struct TabledOptions {
  struct Inner {
    double momentum = 0.9;
    static void describe(Schema<Inner>& s) { s.option("momentum", &Inner::momentum, "Of no use."); }
  };
  Inner inner;
  static void describe(Schema<TabledOptions>& s) { s.option("inner", &TabledOptions::inner, "A table."); }
};

class Tabled : public Descent {
 public:
  using Options = TabledOptions;
  Tabled(const Options&, const Spec& spec) : Descent({}, spec) {}
};

struct MeddlerOptions {
  std::string change = "none";
  static void describe(Schema<MeddlerOptions>& s) {
    s.option("change", &MeddlerOptions::change, "What it changes of the process.")
        .choices(casdm::testing::all_changes());
  }
};

class Meddling : public Descent {
 public:
  using Options = MeddlerOptions;
  Meddling(const Options& options, const Spec& spec) : Descent({}, spec), change_(options.change) {}
  void step(const OptimizerStep& step) override {
    casdm::testing::meddle(change_);
    Descent::step(step);
  }

 private:
  std::string change_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Broken optimizers", .licence = "Apache-2.0"});
  plugin.add<Descent>("descent", "Keeps its contract.");
  plugin.add<Careless>("careless", "Passes over biases.");
  plugin.add<Forgetful>("forgetful", "State outside its buffers.");
  plugin.add<Replacing>("replacing", "Replaces its tensors.");
  plugin.add<Striding>("striding", "Counts its steps outside its buffers.");
  plugin.add<Copying>("copying", "Hands out copies of its state.");
  plugin.add<Doubling>("doubling", "Two tensors of one name.");
  plugin.add<Restless>("restless", "Moves at learning rate 0.");
  plugin.add<Drifting>("drifting", "Decays weights unasked.");
  plugin.add<Dividing>("dividing", "Divides by a norm that may be 0.");
  plugin.add<Spilling>("spilling", "Changes what lies between parameters.");
  plugin.add<Counting>("counting", "Later parameters move less.");
  plugin.add<Climbing>("climbing", "Goes up.");
  plugin.add<OnePass>("one_pass", "Descent in one pass.");
  plugin.add<Tabled>("tabled", "An option that is a table.");
  plugin.add<Meddling>("meddling_optimizer", "Changes something of the process.");
}
