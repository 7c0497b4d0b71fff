#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/one_pass_optimizer.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"
#include "framework/training/module_optimizer.h"

namespace casdm::conformance::optimizers {

namespace {

constexpr double kRate = 1e-2;
constexpr int kSteps = 3;
constexpr int kManySteps = 101;  // for what is done in every tenth step or so
constexpr double kUnwritten = -77;

using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

/// One parameter of each role, and a scalar.
const Shapes kShapes = {{"linear.weight", {6, 4}},
                        {"conv.weight", {4, 3, 3, 3}},
                        {"table.weight", {5, 4}},
                        {"norm.weight", {4}},
                        {"norm.bias", {4}},
                        {"last.weight", {3, 4, 3, 3}},
                        {"scale", {}}};

ParameterRole role_of(const std::string& name, at::IntArrayRef shape) {
  if (name.starts_with("table.")) return ParameterRole::embedding;
  if (name.starts_with("last.")) return ParameterRole::output;
  return role_by_shape(name, shape);
}

/// Values that depend on the name, not on the order of the parameters.
Tensor values(const std::string& name, at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, make_generator(derive_seed(seed, name)), at::kFloat);
}

Optimizer::Spec spec_of(const Shapes& shapes, std::uint64_t seed, c10::Device device = c10::Device(c10::kCPU)) {
  NamedTensors parameters;
  for (const auto& [name, shape] : shapes) parameters.emplace_back(name, at::empty(shape));
  Optimizer::Spec spec = flat_parameters(parameters, device);
  for (OptimizedParameter& parameter : spec.parameters) {
    parameter.role = role_of(parameter.name, parameter.weight.sizes());
    parameter.weight.copy_(values(parameter.name, parameter.weight.sizes(), seed));
  }
  return spec;
}

Optimizer::Spec spec_for(const Subject& subject) { return spec_of(kShapes, subject.seed()); }

void set_gradients(const Optimizer::Spec& spec, std::uint64_t seed, int step, double scale = 1) {
  for (const OptimizedParameter& parameter : spec.parameters) {
    const auto number = static_cast<std::uint64_t>(step);
    parameter.gradient.copy_(values(parameter.name, parameter.weight.sizes(), derive_seed(seed, "gradient", number)));
    parameter.gradient.mul_(scale);
  }
}

void take_steps(Optimizer& optimizer, const Optimizer::Spec& spec, std::uint64_t seed, int first, int last,
                double scale = 1) {
  const at::NoGradGuard no_grad;
  for (int step = first; step < last; ++step) {
    set_gradients(spec, seed, step, scale);
    optimizer.step({kRate});
  }
}

void require_same(const Optimizer::Spec& ours, const Optimizer::Spec& theirs, const std::string& message) {
  for (const OptimizedParameter& parameter : ours.parameters) {
    const auto other = std::find_if(theirs.parameters.begin(), theirs.parameters.end(),
                                    [&](const auto& candidate) { return candidate.name == parameter.name; });
    require(at::allclose(parameter.weight, other->weight, 1e-5, 1e-6), text(parameter.name, " ", message));
  }
}

void changes_every_parameter(const Subject& subject) {
  const Optimizer::Spec spec = spec_for(subject);
  const Component<Optimizer> optimizer(subject.make<Optimizer>(spec));
  set_gradients(spec, subject.seed(), 0);
  const std::vector<std::string> names = left_as_they_are(optimizer, spec);
  require(names.empty(), text("one step does not change ", join(names, ", "), "; every parameter has a gradient"));
}

void rests_at_learning_rate_zero(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_for(subject);
  const auto optimizer = subject.make<Optimizer>(spec);
  const Tensor before = spec.weights.clone();
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(spec, subject.seed(), step);
    optimizer->step({0.0});
  }
  require(at::equal(before, spec.weights), "at learning rate 0 it changes the weights; warm-up begins there");
}

/// Switches off every weight decay that the optimizer has.
Value without_decay(const Subject& subject) {
  Value table{Value::Table{}};
  for (const OptionSpec& option : subject.entry().options) {
    if (option.type == OptionType::number && option.name.ends_with("weight_decay")) table.set(option.name, 0.0);
  }
  return table;
}

void rests_without_gradient(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_for(subject);
  const auto optimizer = subject.make<Optimizer>(spec, without_decay(subject));
  const Tensor before = spec.weights.clone();
  for (int step = 0; step < kSteps; ++step) {
    spec.gradients.zero_();
    optimizer->step({kRate});
  }
  require(at::equal(before, spec.weights),
          "with gradients of 0 and options named ...weight_decay at 0 it changes the weights");
}

void stays_finite(const Subject& subject) {
  for (const double scale : {1e-30, 1e-6, 1e6, 1e15}) {
    const Optimizer::Spec spec = spec_for(subject);
    take_steps(*subject.make<Optimizer>(spec), spec, subject.seed(), 0, kSteps, scale);
    require(spec.weights.isfinite().all().item<bool>(),
            text("the weights are not finite after steps with gradients of about ", number(scale)));
  }
}

void leaves_the_gaps_zero(const Subject& subject) {
  const Optimizer::Spec spec = spec_for(subject);
  take_steps(*subject.make<Optimizer>(spec), spec, subject.seed(), 0, kSteps);
  Tensor gaps = spec.weights.clone();
  for (const OptimizedParameter& parameter : spec.parameters) {
    gaps.narrow(0, parameter.offset, parameter.weight.numel()).zero_();
  }
  require(!gaps.any().item<bool>(), "it changes elements of the flat weights that belong to no parameter");
}

void is_the_same_for_any_order(const Subject& subject) {
  const Optimizer::Spec spec = spec_for(subject);
  const Optimizer::Spec reversed = spec_of(Shapes(kShapes.rbegin(), kShapes.rend()), subject.seed());
  take_steps(*subject.make<Optimizer>(spec), spec, subject.seed(), 0, kSteps);
  take_steps(*subject.make<Optimizer>(reversed), reversed, subject.seed(), 0, kSteps);
  require_same(spec, reversed, "depends on the order of the parameters in the flat tensors");
}

void resumes_from_its_buffers(const Subject& subject) {
  const Optimizer::Spec whole = spec_for(subject);
  const auto uninterrupted = subject.make<Optimizer>(whole);
  take_steps(*uninterrupted, whole, subject.seed(), 0, kSteps);
  const Optimizer::Spec resumed = spec_for(subject);
  const auto other = subject.make<Optimizer>(resumed);
  {
    const at::NoGradGuard no_grad;
    resumed.weights.copy_(whole.weights);
    const NamedTensors from = uninterrupted->buffers();
    const NamedTensors to = other->buffers();
    for (std::size_t i = 0; i < from.size(); ++i) Tensor(to.at(i).second).copy_(from[i].second);
  }
  take_steps(*uninterrupted, whole, subject.seed(), kSteps, kManySteps);
  take_steps(*other, resumed, subject.seed(), kSteps, kManySteps);
  require(at::equal(whole.weights, resumed.weights),
          "with the weights and buffers of another one it steps elsewhere: what it remembers must be a buffer");
}

void require_near(const Tensor& whole, const Tensor& parts, const std::string& what) {
  require(at::allclose(whole.to(at::kDouble), parts.to(at::kDouble), 1e-5, 1e-6),
          text("after whole_step ", what, " differs from that after the parts of the same step: gradients times the ",
               "scale, step, averages"));
}

/// Takes the same steps by whole_step and as the host would without it.
void does_in_one_pass_what_its_parts_do(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_for(subject), in_parts = spec_for(subject);
  const auto optimizer = subject.make<Optimizer>(spec), separate = subject.make<Optimizer>(in_parts);
  auto* const one_pass = dynamic_cast<OnePassOptimizer*>(optimizer.get());
  if (one_pass == nullptr) throw Skip("it is not a OnePassOptimizer");
  std::vector<WeightAverage> averages, expected;
  for (std::size_t i = 0; i < OnePassOptimizer::kMostAverages; ++i) {
    const double keep = 1 - std::pow(0.1, static_cast<double>(i + 1));
    averages.push_back({spec.weights * 2, keep});
    expected.push_back({spec.weights * 2, keep});
  }
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(spec, subject.seed(), step);
    set_gradients(in_parts, subject.seed(), step);
    const Tensor gradients = spec.gradients.clone(), weights = spec.weights.clone();
    const WholeStep whole{kRate, at::full({}, 0.25), {averages.begin(), averages.begin() + step + 2}};
    std::vector<Tensor> before;
    for (const auto& [name, buffer] : optimizer->buffers()) before.push_back(buffer.clone());
    if (!one_pass->whole_step(whole)) {
      require(at::equal(weights, spec.weights) && at::equal(gradients, spec.gradients),
              "whole_step returns false but has changed the weights or the gradients");
      const NamedTensors now = optimizer->buffers();
      for (std::size_t i = 0; i < now.size(); ++i) {
        require(at::equal(before.at(i), now[i].second),
                text("whole_step returns false but has changed the buffer ", now[i].first));
      }
      throw Skip("it takes no whole steps on this device");
    }
    in_parts.gradients.mul_(0.25);
    separate->step({kRate});
    for (std::size_t i = 0; i < whole.averages.size(); ++i) {
      expected[i].values.lerp_(in_parts.weights, 1 - expected[i].keep);
      require_near(averages[i].values, expected[i].values, text("average ", i));
    }
    require_near(spec.weights, in_parts.weights, "a weight");
    require(!spec.gradients.any().item<bool>(), "whole_step does not set the gradients to 0");
  }
  const NamedTensors ours = optimizer->buffers(), theirs = separate->buffers();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    require_near(ours[i].second, theirs.at(i).second, text("the buffer ", ours[i].first));
  }
}

/// A scale that is NaN says that the step is not to be taken.
void leaves_out_a_whole_step(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_for(subject);
  const auto optimizer = subject.make<Optimizer>(spec);
  auto* const one_pass = dynamic_cast<OnePassOptimizer*>(optimizer.get());
  if (one_pass == nullptr) throw Skip("it is not a OnePassOptimizer");
  const Tensor average = spec.weights * 2;
  const auto step = [&](double scale) {
    set_gradients(spec, subject.seed(), 0);
    if (scale != 1) spec.gradients.select(0, 0).fill_(scale);
    return one_pass->whole_step({kRate, at::full({}, scale), {{average, 0.5}}});
  };
  if (!step(1)) throw Skip("it takes no whole steps on this device");
  std::vector<std::pair<std::string, Tensor>> kept = {{"the weights", spec.weights}, {"an average", average}};
  for (const auto& [name, buffer] : optimizer->buffers()) kept.emplace_back("the buffer " + name, buffer);
  std::vector<Tensor> before;
  for (const auto& [name, tensor] : kept) before.push_back(tensor.clone());
  step(std::nan(""));
  for (std::size_t i = 0; i < kept.size(); ++i) {
    require(at::equal(kept[i].second, before[i]),
            text("whole_step with a scale that is NaN changes ", kept[i].first, ": such a step is not to be taken"));
  }
  require(!spec.gradients.any().item<bool>(), "whole_step with a scale that is NaN does not set the gradients to 0");
}

/// Each parameter is a matrix that the shadow has transposed, biases and what lies between are not in it.
WeightShadow transposed_shadow(const Optimizer::Spec& spec) {
  std::vector<int> rows;
  const auto add = [&](std::int64_t offset, std::int64_t count, std::int64_t columns) {
    const std::int64_t along = columns > 0 ? count / columns : 0;
    for (const std::int64_t number :
         {offset, std::int64_t{0}, count, columns, std::int64_t{1}, std::int64_t{1}, along, std::int64_t{0}}) {
      rows.push_back(static_cast<int>(number));
    }
  };
  std::int64_t end = 0;
  for (const OptimizedParameter& parameter : spec.parameters) {
    const Tensor& weight = parameter.weight;
    if (parameter.offset > end) add(end, parameter.offset - end, 0);
    add(parameter.offset, weight.numel(), weight.dim() > 1 ? weight.size(0) : 0);
    end = parameter.offset + weight.numel();
  }
  if (end < spec.weights.numel()) add(end, spec.weights.numel() - end, 0);
  return {at::full_like(spec.weights, kUnwritten, at::kBFloat16),
          at::tensor(rows, at::kInt).view({-1, 8}).to(spec.weights.device())};
}

Tensor expected_shadow(const Optimizer::Spec& spec) {
  Tensor result = at::full_like(spec.weights, kUnwritten, at::kBFloat16);
  for (const OptimizedParameter& parameter : spec.parameters) {
    const Tensor& weight = parameter.weight;
    if (weight.dim() < 2) continue;
    result.narrow(0, parameter.offset, weight.numel()).copy_(weight.reshape({-1, weight.size(0)}).t().flatten());
  }
  return result;
}

void writes_its_shadow(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_for(subject);
  const auto optimizer = subject.make<Optimizer>(spec);
  auto* const one_pass = dynamic_cast<OnePassOptimizer*>(optimizer.get());
  if (one_pass == nullptr || !one_pass->writes_shadow()) throw Skip("it writes no shadow of the weights");
  const WeightShadow shadow = transposed_shadow(spec);
  const Tensor average = spec.weights.clone();
  for (const double scale : {std::nan(""), 0.25, std::nan("")}) {
    set_gradients(spec, subject.seed(), 0);
    shadow.values.fill_(kUnwritten);
    const WholeStep whole{kRate, at::full({}, scale, spec.weights.options()), {{average, 0.5}}, shadow};
    if (!one_pass->whole_step(whole)) throw Skip("it takes no whole steps on this device");
    require(at::equal(shadow.values, expected_shadow(spec)),
            text("after whole_step with a scale of ", number(scale),
                 " the shadow differs from the weights rounded to bf16 at the places that its pieces give"));
  }
}

/// A table inside [optimizer] is the name of a module.
void has_plain_options(const Subject& subject) {
  for (const OptionSpec& option : subject.entry().options) {
    require(option.type != OptionType::table,
            text("option '", option.name, "' is a table; a table in [optimizer] is of a module: use plain options"));
  }
}

void descends(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_for(subject);
  const auto optimizer = subject.make<Optimizer>(spec, without_decay(subject));
  const double before = spec.weights.square().sum().item<double>();
  for (int step = 0; step < 30; ++step) {
    spec.gradients.copy_(spec.weights);
    optimizer->step({kRate});
  }
  const double after = spec.weights.square().sum().item<double>();
  require(after < before,
          text("30 steps at learning rate ", number(kRate), " on |w|^2 / 2 take |w|^2 from ", before, " to ", after));
}

void call(Caller& caller) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = spec_of(kShapes, caller.subject.seed(), caller.device);
  auto optimizer = caller.make<Optimizer>(spec);
  caller.read_state(*optimizer);
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(spec, caller.subject.seed(), step);
    caller.run("step", [&] { optimizer->step({kRate}); });
    caller.keep(spec.weights);
  }
  caller.destroy(optimizer);
}

}  // namespace

Suite requirements() {
  const auto kind = Optimizer::kind;
  return suite<Optimizer, spec_for>(
      {{kind, "changes_every_parameter", false, changes_every_parameter},
       {kind, "rests_at_learning_rate_zero", false, rests_at_learning_rate_zero},
       {kind, "rests_without_gradient", false, rests_without_gradient},
       {kind, "stays_finite", false, stays_finite},
       {kind, "leaves_the_gaps_zero", false, leaves_the_gaps_zero},
       {kind, "is_the_same_for_any_order", false, is_the_same_for_any_order},
       {kind, "resumes_from_its_buffers", false, resumes_from_its_buffers},
       {kind, "does_in_one_pass_what_its_parts_do", false, does_in_one_pass_what_its_parts_do},
       {kind, "leaves_out_a_whole_step", false, leaves_out_a_whole_step},
       {kind, "writes_its_shadow", false, writes_its_shadow},
       {kind, "has_plain_options", false, has_plain_options},
       {kind, "descends", false, descends}},
      call);
}

}  // namespace casdm::conformance::optimizers
